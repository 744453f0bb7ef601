"""A column's name, `loss` or `layer_amax_forward_max[3]`, and what it says."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from foreshock.wire.catalogue import CATALOGUE
from foreshock.wire.errors import UnknownSignalError
from foreshock.wire.signal import Reduction, Signal

_SERIES_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./:\-]{0,119}")
_LONGEST_NAME: Final = 120
_NOT_OF_A_NAME: Final = re.compile(r"[^A-Za-z0-9_.:\-]")
_COLUMN: Final = re.compile(r"(?P<series>[^\[\]]+)(?:\[(?P<layer>0|[1-9][0-9]{0,4})\])?")

# Over the layers of a deep model, whose layers are not all told of every step
LAYER_QUANTILES: Final[Mapping[str, float]] = {"p10": 0.1, "p50": 0.5, "p90": 0.9}


@dataclass(frozen=True, slots=True)
class Column:
    """A parsed column name.

    `signal` is None for a user's own series; `quantile`, `p90` say, for one over the layers of a signal.
    """

    series: str
    layer: int | None
    signal: Signal | None
    reduction: Reduction | None
    quantile: str | None = None


_BY_SERIES: Final[Mapping[str, tuple[Signal, Reduction | None]]] = {
    series: (signal, reduction)
    for signal in CATALOGUE.values()
    for series, reduction in zip(signal.series, signal.reductions or (None,), strict=True)
}


def parse_column(name: str) -> Column:
    """Reads a column's name, `loss` or `layer_amax_forward_max[3]`.

    Raises UnknownSignalError for a name that neither the catalogue nor the rule for a user's own
    series allows: a letter or underscore, then up to 119 of letters, digits and `_ . / : -`.
    """
    match = _COLUMN.fullmatch(name)
    if match is None or _SERIES_NAME.fullmatch(match["series"]) is None:
        raise UnknownSignalError(
            f"{name[:160]!r} is no series name: it must start with a letter or underscore, hold at most "
            "120 letters, digits, '_', '.', '/', ':' or '-', and may end with a layer such as [3]"
        )
    layer = None if match["layer"] is None else int(match["layer"])
    signal, reduction = _BY_SERIES.get(match["series"], (None, None))
    if signal is None and layer is None:
        series, _, quantile = match["series"].rpartition(".")
        of_layers, reduction_of_layers = _BY_SERIES.get(series, (None, None))
        if of_layers is not None and of_layers.per_layer and quantile in LAYER_QUANTILES:
            return Column(match["series"], None, of_layers, reduction_of_layers, quantile)
    return Column(match["series"], layer, signal, reduction)


def catalogue_series() -> Iterator[tuple[str, Signal]]:
    """Every series name of the catalogue with its signal, in the catalogue's order."""
    for series, (signal, _) in _BY_SERIES.items():
        yield series, signal


def quantile_series(series: str) -> tuple[str, ...]:
    """The quantiles over layers of a per-layer series: `stream_rms.p10`, ..."""
    return tuple(f"{series}.{quantile}" for quantile in LAYER_QUANTILES)


def domain_loss_series(domain: str) -> str:
    """The user's series that a domain's loss goes by: `domain_loss/code`."""
    return f"domain_loss/{_NOT_OF_A_NAME.sub('_', domain)}"[:_LONGEST_NAME]


def is_low_worse(series: str) -> bool:
    """Whether a low value of a catalogue series is what to look for (`Signal.low_is_worse`)."""
    signal, _ = _BY_SERIES[series]
    return signal.low_is_worse


def per_layer(series: Sequence[str], num_layers: int) -> tuple[str, ...]:
    """Column names series by series, layers within."""
    return tuple(f"{name}[{layer}]" for name in series for layer in range(num_layers))
