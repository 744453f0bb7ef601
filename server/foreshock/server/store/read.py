"""What readers of one run get: columns, buckets, layer maps, latest values, events, alerts."""

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import sqlalchemy as sa

from foreshock.server.errors import UnknownAttemptError
from foreshock.server.store.buckets import bucket_series
from foreshock.server.store.curves import Curve, Reals, common_width, cut, draw_map, join, reduce_ranks
from foreshock.server.store.engine import reading
from foreshock.server.store.layouts import unpack_names
from foreshock.server.store.runs import get_run
from foreshock.server.store.schema import PASSED_BY, alerts, cursors, layouts, records
from foreshock.server.store.tracks import Extent, Source, Steps, TrackCache
from foreshock.wire import (
    WHOLE_EVERY,
    Batch,
    Event,
    batch_steps,
    batch_times,
    batch_values,
    decode_record,
    is_missing,
    parse_column,
)
from foreshock.wire.readings import AlertMark, LayerMap, SeriesBuckets, Window


@dataclass(frozen=True, slots=True)
class Stream:
    """One declared layout: where it is, and its columns' places."""

    source: Source
    places: dict[str, int]
    last_step: int

    @property
    def extent(self) -> Extent:
        """How much there is to decode."""
        return Extent(len(self.places), self.last_step + 1)


class StoredRun:
    """Reads one run from the database; implements `foreshock.wire.readings.RunReader`."""

    def __init__(
        self, engine: sa.Engine, cache: TrackCache, run_id: str, row: sa.RowMapping | None = None
    ) -> None:
        self.engine = engine
        self._cache = cache
        self.run_id = run_id
        self._row = row

    @cached_property
    def row(self) -> sa.RowMapping:
        """The run's row; raises UnknownRunError."""
        return self._row or get_run(self.engine, self.run_id)

    def found(self) -> Self:
        """The reader itself; raises UnknownRunError where there is no such run."""
        _ = self.row
        return self

    def attempt(self, window: Window | None = None) -> int:
        """The attempt that a window asks for: the newest unless it names one."""
        if window is not None and window.attempt is not None:
            return window.attempt
        return int(self.row["attempt"])

    def found_attempt(self, window: Window) -> int:
        """The attempt that a window asks for; raises UnknownAttemptError where nobody ever declared it."""
        attempt = self.attempt(window)
        of_attempt = (cursors.c.run_id == self.run_id, cursors.c.attempt == attempt)
        with reading(self.engine) as connection:
            if connection.execute(sa.select(sa.exists().where(*of_attempt))).scalar_one():
                return attempt
        raise UnknownAttemptError(
            f"run {self.run_id} has no attempt {attempt}; its newest is {self.row['attempt']}: "
            f"GET /api/v1/runs/{self.run_id} lists all"
        )

    def columns(self) -> tuple[str, ...]:
        """Every column of the newest attempt, in the order of declaration."""
        with reading(self.engine) as connection:
            streams = self._streams(connection, self.attempt())
        return tuple(dict.fromkeys(name for stream in streams for name in stream.places))

    def series(self, columns: tuple[str, ...], window: Window) -> list[SeriesBuckets]:
        """The columns that exist, in the order asked for, in buckets of one common width."""
        curves = self.curves(columns, self.attempt(window))
        width = common_width(curves, window)
        shown = [cut(curve, window, width) for curve in curves]
        return [bucket_series(curve.column, curve.steps, curve.values, width) for curve in shown]

    def layer_map(self, series: str, window: Window) -> LayerMap | None:
        """The map of one per-layer series, or None where the run has none."""
        attempt = self.attempt(window)
        names = self.layer_columns(series, attempt)
        if not names:
            return None
        curves = self.curves(names, attempt)
        width = common_width(curves, window)
        shown = [cut(curve, window, width) for curve in curves]
        return draw_map(series, (parse_column(names[-1]).layer or 0) + 1, shown, width)

    def curves(self, columns: Sequence[str], attempt: int) -> list[Curve]:
        """Whole columns of one attempt, ranks joined; those that do not exist are left out."""
        parts: dict[str, dict[int, list[tuple[Steps, Reals]]]] = defaultdict(lambda: defaultdict(list))
        with reading(self.engine) as connection:
            for stream in self._streams(connection, attempt):
                wanted = [name for name in dict.fromkeys(columns) if name in stream.places]
                if not wanted:
                    continue
                places = [stream.places[name] for name in wanted]
                steps, values = self._cache.read(connection, stream.source, places, stream.extent)
                for name, row in zip(wanted, values, strict=True):
                    here = ~is_missing(row)
                    parts[name][stream.source.rank].append((steps[here], row[here].astype(np.float64)))
        return [join(name, parts[name].values()) for name in dict.fromkeys(columns) if name in parts]

    def _streams(self, connection: sa.Connection, attempt: int) -> list[Stream]:
        query = (
            sa.select(layouts)
            .where(layouts.c.run_id == self.run_id, layouts.c.attempt == attempt)
            .order_by(layouts.c.rank, layouts.c.layout_id)
        )
        return [
            Stream(
                Source(row.run_id, row.rank, row.attempt, row.layout_id),
                {name: place for place, name in enumerate(unpack_names(row.columns))},
                row.last_step,
            )
            for row in connection.execute(query)
        ]

    def layer_columns(self, series: str, attempt: int) -> tuple[str, ...]:
        """The columns of a per-layer series, by layer; empty where the attempt has none."""
        with reading(self.engine) as connection:
            streams = self._streams(connection, attempt)
        names = {name for stream in streams for name in stream.places if name.startswith(f"{series}[")}
        return tuple(sorted(names, key=lambda name: parse_column(name).layer or 0))

    def num_layers(self) -> dict[str, int | None]:
        """Every series of the newest attempt, with how many layers it has; None for a plain one."""
        found: dict[str, int | None] = {}
        for column in map(parse_column, self.columns()):
            count = None if column.layer is None else max(found.get(column.series) or 0, column.layer + 1)
            found[column.series] = count
        return found

    def latest(self) -> "Latest":
        """The newest value of every column of the newest attempt, ranks joined."""
        attempt, step, when = self.attempt(), -1, 0.0
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        with reading(self.engine) as connection:
            for stream in self._streams(connection, attempt):
                known: dict[str, tuple[int, float]] = {}
                for number, batch in enumerate(_newest_batches(connection, stream.source)):
                    steps = batch_steps(batch)
                    if number == 0 and int(steps[-1]) > step:
                        step, when = int(steps[-1]), float(batch_times(batch)[-1])
                    for name, (place, value) in zip(stream.places, _last_present(batch), strict=True):
                        if place >= 0:
                            known.setdefault(name, (int(steps[place]), value))
                    if not _lacks_layers(stream.places, known):
                        break
                for name, newest in known.items():
                    found[name].append(newest)
        return Latest(step, when, {name: _join_latest(name, values) for name, values in found.items()})

    def events(self) -> list[dict[str, Any]]:
        """What the probes told of: schedule changes, notes, rollbacks, the end. Oldest first."""
        query = (
            sa.select(records.c.rank, records.c.attempt, records.c.body)
            .where(records.c.run_id == self.run_id, records.c.kind == "event")
            .order_by(records.c.attempt, records.c.first_step, records.c.rank, records.c.sequence)
        )
        told = []
        with reading(self.engine) as connection:
            for row in connection.execute(query):
                event = decode_record(row.body)
                if isinstance(event, Event):
                    told.append({"rank": row.rank, "attempt": row.attempt, **_event_fields(event)})
        return told

    def alerts(self) -> list[AlertMark]:
        """The run's alerts that fired or may still, oldest first."""
        query = (
            sa.select(alerts).where(alerts.c.run_id == self.run_id, ~PASSED_BY).order_by(alerts.c.alert_id)
        )
        with reading(self.engine) as connection:
            return [
                AlertMark(
                    rule=row.rule,
                    severity=row.severity,
                    state=row.state,
                    subject=row.subject,
                    opened_step=row.opened_step,
                    fired_step=row.fired_step,
                    resolved_step=row.resolved_step,
                    reason=row.reason,
                )
                for row in connection.execute(query)
            ]


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest value of every column, with the newest step and its time."""

    step: int
    time: float
    values: dict[str, float]


def _newest_batches(connection: sa.Connection, source: Source) -> Iterator[Batch]:
    """The batches of a stream, newest first, as many as a deep model may need to tell all of its layers."""
    query = (
        sa.select(records.c.body)
        .where(
            records.c.run_id == source.run_id,
            records.c.rank == source.rank,
            records.c.attempt == source.attempt,
            records.c.kind == "batch",
            records.c.layout_id == source.layout_id,
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


def _join_latest(name: str, values: Sequence[tuple[int, float]]) -> float:
    newest = max(step for step, _ in values)
    column = np.array([[value] for step, value in values if step == newest])
    return float(reduce_ranks(name, column, np.ones(column.shape, bool))[0])


def _event_fields(event: Event) -> dict[str, Any]:
    return {"step": event.step, "time": event.time, "kind": event.kind, "detail": event.detail}
