"""The newest value of every column of a stream, from the end of its log or from its last chunks."""

from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import sqlalchemy as sa

from foreshock.server.store.chunks import PART_COLUMNS, unpack_cells, unpack_times
from foreshock.server.store.schema import chunks, envelopes, records
from foreshock.server.store.streams import Source, Stream, in_log
from foreshock.server.store.windows import at_part
from foreshock.wire import (
    WHOLE_EVERY,
    Batch,
    batch_steps,
    batch_times,
    batch_values,
    decode_record,
    is_missing,
)

# The newest may hold a few frames only, of which a deep model tells some layers
_WINDOWS: Final = 2


@dataclass(slots=True)
class Newest:
    """A stream's last step and its time, and for each column the step and value of its newest value."""

    step: int = -1
    time: float = 0.0
    values: dict[str, tuple[int, float]] = field(default_factory=dict)


def newest_values(connection: sa.Connection, stream: Stream) -> Newest:
    """Looks back as far as a deep model may need to tell all of its layers, no further."""
    found = Newest()
    for batch in _newest_batches(connection, stream.source):
        steps = batch_steps(batch)
        if found.step < 0:
            found.step, found.time = int(steps[-1]), float(batch_times(batch)[-1])
        for name, (place, value) in zip(stream.places, _last_present(batch), strict=True):
            if place >= 0:
                found.values.setdefault(name, (int(steps[place]), value))
        if not _lacks_layers(stream.places, found.values):
            return found
    if stream.upto_step >= 0:
        _look_into_chunks(connection, stream, found)
    return found


def _look_into_chunks(connection: sa.Connection, stream: Stream, found: Newest) -> None:
    names = list(stream.places)
    for part, begin in enumerate(range(0, len(names), PART_COLUMNS)):
        of_part = sa.select(envelopes.c.summary).where(*at_part(envelopes, stream.source, part))
        newest = of_part.order_by(envelopes.c.first_step.desc()).limit(_WINDOWS)
        for (summary,) in connection.execute(newest):
            of_names = names[begin : begin + PART_COLUMNS]
            cells = unpack_cells(summary, range(len(of_names)))
            for row, name in enumerate(of_names):
                if cells.count[row, -1]:
                    value = int(cells.last_step[row, -1]), float(cells.last[row, -1])
                    found.values.setdefault(name, value)
    if found.step < 0:
        of_times = sa.select(chunks.c.last_step, chunks.c.times).where(*at_part(chunks, stream.source, 0))
        last_step, times = connection.execute(of_times.order_by(chunks.c.first_step.desc()).limit(1)).one()
        found.step, found.time = last_step, float(unpack_times(times)[-1])


def _newest_batches(connection: sa.Connection, source: Source) -> Iterator[Batch]:
    query = (
        sa.select(records.c.body)
        .where(
            *in_log(source),
        )
        .order_by(records.c.sequence.desc())
    )
    for number in range(WHOLE_EVERY):
        body = connection.execute(query.limit(1).offset(number)).scalar_one_or_none()
        record = None if body is None else decode_record(body)
        if not isinstance(record, Batch):
            return
        yield record


def _lacks_layers(names: Iterable[str], known: Container[str]) -> bool:
    """Whether some layers of a series are told and others not."""
    layers = [(name.partition("[")[0], name in known) for name in names if name.endswith("]")]
    told = {series for series, is_known in layers if is_known}
    return any(series in told and not is_known for series, is_known in layers)


def _last_present(batch: Batch) -> list[tuple[int, float]]:
    """For each column the place and value of its last frame that has one; place -1 where none has."""
    values = batch_values(batch)
    present = ~is_missing(values)
    places = batch.num_steps - 1 - np.argmax(present[:, ::-1], axis=1)
    newest = values[np.arange(len(values)), places].tolist()
    return list(zip(np.where(present.any(axis=1), places, -1).tolist(), newest, strict=True))
