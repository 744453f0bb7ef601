"""What readers of one run get: columns, buckets, layer maps, latest values, events, alerts."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self

import numpy as np
import sqlalchemy as sa

from foreshock.server.errors import UnknownAttemptError
from foreshock.server.store.cells import Cells, StepArray, cell_width, widened
from foreshock.server.store.chunks import PART_COLUMNS
from foreshock.server.store.clock import read_clock
from foreshock.server.store.curves import Curve, Reals, join, reduce_ranks
from foreshock.server.store.engine import reading
from foreshock.server.store.newest import newest_values
from foreshock.server.store.risks import read_risk
from foreshock.server.store.runs import get_run
from foreshock.server.store.schema import PASSED_BY, alerts, cursors, records
from foreshock.server.store.streams import Stream, read_streams
from foreshock.server.store.windows import END_OF_STEPS, EVERYTHING, Span, Windows
from foreshock.wire import Event, decode_record, is_missing, parse_column
from foreshock.wire.readings import AlertMark, Clock, LayerMap, RiskBuckets, SeriesBuckets, Window


@dataclass(frozen=True, slots=True)
class CellTable:
    """Columns whose cells have the same edges: `cells` holds a row for each of `columns`."""

    columns: tuple[str, ...]
    cells: Cells


class StoredRun:
    """Reads one run from the database; implements `foreshock.wire.readings.RunReader`."""

    def __init__(
        self, engine: sa.Engine, windows: Windows, run_id: str, row: sa.RowMapping | None = None
    ) -> None:
        self.engine = engine
        self._windows = windows
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
            streams = read_streams(connection, self.run_id, self.attempt())
        return tuple(dict.fromkeys(name for stream in streams for name in stream.places))

    def series(
        self, columns: tuple[str, ...], window: Window, width: int | None = None
    ) -> list[SeriesBuckets]:
        """The columns that exist, in the order asked for, in buckets of one common width."""
        width, tables = self.cells(columns, window, width)
        found = {
            column: table.cells.series(column, row, width)
            for table in tables
            for row, column in enumerate(table.columns)
        }
        return [found[column] for column in dict.fromkeys(columns) if column in found]

    def layer_map(self, series: str, window: Window) -> LayerMap | None:
        """The map of one per-layer series, or None where the run has none."""
        names = self.layer_columns(series, self.attempt(window))
        if not names:
            return None
        width, tables = self.cells(names, window)
        return draw_map(series, (parse_column(names[-1]).layer or 0) + 1, tables, width)

    def cells(
        self, columns: Sequence[str], window: Window, width: int | None = None
    ) -> tuple[int, list[CellTable]]:
        """The columns that exist in cells of one width: as wide as asked for, or as the window needs.

        A window is widened to whole cells, so that none is half full.
        """
        wanted = tuple(dict.fromkeys(columns))
        with reading(self.engine) as connection:
            streams = read_streams(connection, self.run_id, self.attempt(window))
            holding = [one for one in streams if one.places.keys() & set(wanted)]
            extents = [(one.first_step, one.last_step) for one in holding if one.first_step >= 0]
            width = width or _window_width(extents, window)
            start = 0 if window.start is None else window.start // width * width
            stop = END_OF_STEPS if window.stop is None else (window.stop // width + 1) * width
            tables = [
                table
                for of_streams, names in _alike(wanted, holding)
                for table in self._cell_tables(connection, of_streams, names, Span(start, stop), width)
            ]
        return width, tables

    def _cell_tables(
        self,
        connection: sa.Connection,
        streams: Sequence[Stream],
        names: list[str],
        span: Span,
        width: int,
    ) -> Iterator[CellTable]:
        streams = [one for one in streams if one.first_step >= 0]
        if _follow_one_another(streams):
            parts = [self._windows.cells(connection, one, names, span, width) for one in streams]
            yield CellTable(tuple(names), Cells.join(parts, len(names)).widen(width))
            return
        # Several ranks are joined step by step: of their cells alone that cannot be told.
        for curve in self._curves(connection, names, streams, span):
            is_there = np.ones((1, len(curve.steps)), bool)
            yield CellTable((curve.column,), Cells.of(curve.steps, curve.values[None], is_there, width))

    def curves(self, columns: Sequence[str], attempt: int, span: Span = EVERYTHING) -> list[Curve]:
        """Every value of some columns, ranks joined; columns that do not exist are left out."""
        with reading(self.engine) as connection:
            streams = read_streams(connection, self.run_id, attempt)
            return [
                curve
                for of_streams, names in _alike(columns, streams)
                for curve in self._curves(connection, names, of_streams, span)
            ]

    def _curves(
        self, connection: sa.Connection, names: Sequence[str], streams: Sequence[Stream], span: Span
    ) -> Iterator[Curve]:
        for start in range(0, len(names), PART_COLUMNS):
            # As many as lie together are read together
            near = names[start : start + PART_COLUMNS]
            found = [self._windows.values(connection, stream, near, span) for stream in streams]
            for row, name in enumerate(near):
                of_ranks: dict[int, list[tuple[StepArray, Reals]]] = defaultdict(list)
                for stream, (steps, values) in zip(streams, found, strict=True):
                    here = ~is_missing(values[row])
                    of_ranks[stream.source.rank].append((steps[here], widened(values[row][here])))
                yield join(name, of_ranks.values())

    def extent(self, columns: Sequence[str], window: Window | None = None) -> tuple[int, int] | None:
        """First and last step of the attempt's streams that hold any of the columns."""
        with reading(self.engine) as connection:
            streams = read_streams(connection, self.run_id, self.attempt(window))
        holding = [one for one in streams if one.first_step >= 0 and one.places.keys() & set(columns)]
        if not holding:
            return None
        return min(one.first_step for one in holding), max(one.last_step for one in holding)

    def layer_columns(self, series: str, attempt: int) -> tuple[str, ...]:
        """The columns of a per-layer series, by layer; empty where the attempt has none."""
        with reading(self.engine) as connection:
            streams = read_streams(connection, self.run_id, attempt)
        names = {name for stream in streams for name in stream.places if name.startswith(f"{series}[")}
        return tuple(sorted(names, key=lambda name: parse_column(name).layer or 0))

    def num_layers(self) -> dict[str, int | None]:
        """Every series of the newest attempt, with how many layers it has; None for a plain one."""
        found: dict[str, int | None] = {}
        for column in map(parse_column, self.columns()):
            count = None if column.layer is None else max(found.get(column.series) or 0, column.layer + 1)
            found[column.series] = count
        return found

    def latest(self, series: Collection[str] = ()) -> "Latest":
        """The newest value of every column of the newest attempt, or of those of `series`; ranks joined."""
        step, when = -1, 0.0
        found: dict[str, list[tuple[int, float]]] = defaultdict(list)
        with reading(self.engine) as connection:
            for stream in read_streams(connection, self.run_id, self.attempt()):
                if stream.first_step < 0:
                    continue
                newest = newest_values(connection, stream)
                if newest.step > step:
                    step, when = newest.step, newest.time
                for name, value in newest.values.items():
                    if not series or name.partition("[")[0] in series:
                        found[name].append(value)
        return Latest(step, when, {name: _join_latest(name, values) for name, values in found.items()})

    def risk(self, window: Window) -> RiskBuckets:
        """The forecast's risk, the largest of each bucket; no bucket where nothing was forecast."""
        return read_risk(self.engine, self.run_id, self.attempt(window), window)

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

    def clock(self, window: Window) -> Clock | None:
        """When the window's steps were made; None where no step has a time."""
        stop = END_OF_STEPS if window.stop is None else window.stop + 1
        with reading(self.engine) as connection:
            streams = read_streams(connection, self.run_id, self.attempt(window))
            return read_clock(connection, streams, Span(window.start or 0, stop))

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


def common_width(runs: Sequence["StoredRun"], columns: Sequence[str], window: Window) -> int:
    """One width for the columns of several runs, from the steps that a window shows of them."""
    extents = [extent for run in runs if (extent := run.extent(columns, window)) is not None]
    return _window_width(extents, window)


def _window_width(extents: Sequence[tuple[int, int]], window: Window) -> int:
    if not extents:
        return 1
    low, high = min(low for low, _ in extents), max(high for _, high in extents)
    low = low if window.start is None else max(low, window.start)
    high = high if window.stop is None else min(high, window.stop)
    return cell_width(low, max(low, high), window.buckets)


def _alike(columns: Sequence[str], streams: Sequence[Stream]) -> list[tuple[list[Stream], list[str]]]:
    """The columns by the streams that they are in; those that are in none are left out."""
    groups: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name in dict.fromkeys(columns):
        groups[tuple(index for index, stream in enumerate(streams) if name in stream.places)].append(name)
    return [([streams[index] for index in held], names) for held, names in groups.items() if held]


def _follow_one_another(streams: Sequence[Stream]) -> bool:
    """Whether the streams are one rank's and none begins before the one before it has ended."""
    is_one_rank = len({one.source.rank for one in streams}) <= 1
    return is_one_rank and all(one.last_step < next_.first_step for one, next_ in pairwise(streams))


def draw_map(series: str, num_layers: int, tables: Sequence[CellTable], width: int) -> LayerMap:
    """Layers by cells; what a layer does not tell in a cell is held for a while (`LayerMap.of`)."""
    edges = np.unique(np.concatenate([np.zeros(0, np.int64), *(table.cells.edge for table in tables)]))
    minimum, maximum, mean = (np.full((num_layers, len(edges)), np.nan) for _ in range(3))
    is_told = np.zeros((num_layers, len(edges)), bool)
    for table in tables:
        rows = np.array([parse_column(column).layer or 0 for column in table.columns])
        at = np.ix_(rows, np.searchsorted(edges, table.cells.edge))
        told = is_told[at] = table.cells.count > 0
        for drawn, name in ((minimum, "minimum"), (maximum, "maximum"), (mean, "mean")):
            drawn[at] = np.where(told, getattr(table.cells, name), np.nan)
    shown = is_told.any(axis=0)
    return LayerMap.of(
        series,
        width,
        edges[shown],
        is_told[:, shown],
        minimum=minimum[:, shown],
        maximum=maximum[:, shown],
        mean=mean[:, shown],
    )


def _join_latest(name: str, values: Sequence[tuple[int, float]]) -> float:
    newest = max(step for step, _ in values)
    of_ranks = [value for step, value in values if step == newest]
    if len(of_ranks) == 1:  # as with nearly every run, and of thousands of columns
        return float(of_ranks[0])
    column = np.array(of_ranks)[:, None]
    return float(reduce_ranks(name, column, np.ones(column.shape, bool))[0])


def _event_fields(event: Event) -> dict[str, Any]:
    return {"step": event.step, "time": event.time, "kind": event.kind, "detail": event.detail}
