"""What crosses the wire: the signal catalogue, the log's records, and their bytes."""

from foreshock.wire.catalogue import CATALOGUE
from foreshock.wire.codec import (
    CONTENT_TYPE,
    MAX_BODY_BYTES,
    WIRE_VERSION,
    Body,
    batch_part,
    batch_steps,
    batch_times,
    batch_values,
    decode_body,
    decode_record,
    encode_body,
    encode_record,
    make_batch,
)
from foreshock.wire.columns import (
    LAYER_QUANTILES,
    Column,
    catalogue_series,
    is_low_worse,
    parse_column,
    per_layer,
    quantile_series,
)
from foreshock.wire.errors import (
    MalformedError,
    TooLargeError,
    UnknownSignalError,
    VersionError,
    WireError,
)
from foreshock.wire.messages import Alert, AppendAnswer, Problem, RunDeclaration, RunHandle
from foreshock.wire.missing import MISSING, is_missing
from foreshock.wire.records import Batch, Event, Layout, Record, Tombstone
from foreshock.wire.signal import CADENCES, WHOLE_EVERY, Band, Cadence, Signal

__all__ = [
    "CADENCES",
    "CATALOGUE",
    "CONTENT_TYPE",
    "LAYER_QUANTILES",
    "MAX_BODY_BYTES",
    "MISSING",
    "WHOLE_EVERY",
    "WIRE_VERSION",
    "Alert",
    "AppendAnswer",
    "Band",
    "Batch",
    "Body",
    "Cadence",
    "Column",
    "Event",
    "Layout",
    "MalformedError",
    "Problem",
    "Record",
    "RunDeclaration",
    "RunHandle",
    "Signal",
    "Tombstone",
    "TooLargeError",
    "UnknownSignalError",
    "VersionError",
    "WireError",
    "batch_part",
    "batch_steps",
    "batch_times",
    "batch_values",
    "catalogue_series",
    "decode_body",
    "decode_record",
    "encode_body",
    "encode_record",
    "is_low_worse",
    "is_missing",
    "make_batch",
    "parse_column",
    "per_layer",
    "quantile_series",
]
