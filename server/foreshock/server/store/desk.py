"""The desk at which the bodies of one commit are held against the database and written down.

`Desk.load` reads the runs, cursors and layouts that a group of submissions names, `accept` checks one
body and moves its cursor in memory, `write` stores everything at once. Runs are locked in the order of
their keys, so that two collectors on one PostgreSQL cannot deadlock, and their cursors with them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import sqlalchemy as sa

from foreshock.server.errors import AttemptTakenError, UnknownRunError
from foreshock.server.store.cursors import Cursor, StreamState
from foreshock.server.store.entries import Entry, Submission
from foreshock.server.store.layouts import pack_names, unpack_names
from foreshock.server.store.runs import deleted
from foreshock.server.store.schema import alert_transitions, cursors, layouts, records, runs

Key = tuple[str, int, int]

# Before this a clock was never set, and says nothing of when a run was alive (2001)
EARLIEST_CLOCK: Final = 1e9
_AT_CURSOR: Final = (
    cursors.c.run_id == sa.bindparam("of_run"),
    cursors.c.rank == sa.bindparam("of_rank"),
    cursors.c.attempt == sa.bindparam("of_attempt"),
)
_AT_RUN: Final = runs.c.run_id == sa.bindparam("of_run")
_AT_LAYOUT: Final = (
    layouts.c.run_id == sa.bindparam("of_run"),
    layouts.c.rank == sa.bindparam("of_rank"),
    layouts.c.attempt == sa.bindparam("of_attempt"),
    layouts.c.layout_id == sa.bindparam("of_layout"),
)
_OF_RUNS: Final = (
    sa.select(
        runs.c.run_id,
        runs.c.attempt,
        runs.c.state,
        runs.c.last_step,
        runs.c.project,
        runs.c.deleted_at,
    )
    .where(runs.c.run_id.in_(sa.bindparam("run_ids", expanding=True)))
    .with_for_update()
)
_UPDATE_CURSOR: Final = sa.update(cursors).where(*_AT_CURSOR)
_UPDATE_RUN: Final = (
    sa.update(runs)
    .where(_AT_RUN)
    .values({name: sa.bindparam(f"to_{name}") for name in ("heartbeat_at", "last_step", "state")})
)


@dataclass(slots=True)
class Tally:
    """What a commit has stored, for the counters."""

    records: int = 0
    points: int = 0
    bytes: int = 0
    duplicates: int = 0
    lost_frames: int = 0


@dataclass(frozen=True, slots=True)
class RunPlace:
    """Where a run stands before this commit."""

    run_id: str
    attempt: int
    state: str
    last_step: int
    project: str
    deleted_at: float | None
    # Number of its newest alert transition, 0 before any
    last_alert: int


class Desk:
    """Runs, cursors and layouts of one group of submissions, inside one transaction."""

    def __init__(
        self, found_runs: dict[str, RunPlace], found_cursors: dict[Key, Cursor], grace_seconds: float
    ) -> None:
        self.tally = Tally()
        self._now = time.time()
        self._runs = found_runs
        self._cursors = found_cursors
        self._clocks_behind: dict[Key, float] = {}
        self._touched: set[Key] = set()
        self._entries: list[tuple[Key, int, Entry]] = []
        self._states: dict[str, str] = {}
        self._grace_seconds = grace_seconds

    @classmethod
    def load(cls, connection: sa.Connection, submissions: Sequence[Submission], grace_seconds: float) -> Self:
        """Reads, and on PostgreSQL locks, what these submissions name."""
        keys = sorted({submission.key for submission in submissions})
        found = _lock_runs(connection, sorted({key[0] for key in keys}))
        newest = _newest_alerts(connection, [row.run_id for row in found])
        found_runs = {
            row.run_id: RunPlace(**row._mapping, last_alert=newest.get(row.run_id, 0)) for row in found
        }
        return cls(found_runs, _load_cursors(connection, keys), grace_seconds)

    def next_sequence(self, submission: Submission) -> int:
        """Where the submission's cursor stands now."""
        return self._cursors[submission.key].next_sequence

    def last_alert(self, submission: Submission) -> int:
        """The number of the newest alert transition of the submission's run."""
        return self._runs[submission.run_id].last_alert

    def accept(self, submission: Submission) -> int:
        """Checks one body and moves its cursor; the number of its records that were there already.

        Raises what is wrong with the body; nothing of it is then kept.
        """
        cursor = self._cursor_of(submission).copy()
        lost_before, num_duplicates = cursor.lost_frames, 0
        taken: list[tuple[Key, int, Entry]] = []
        for entry in submission.entries:
            sequence = cursor.next_sequence
            if entry.last_sequence < sequence:
                num_duplicates += 1
                continue
            cursor.take(entry)
            if entry.kind == "event":
                # When its batches are in chunks, this alone says what the rank had sent before it
                entry = replace(entry, last_step=cursor.last_step)
            taken.append((submission.key, sequence, entry))
        if any(entry.layout is not None for _, _, entry in taken):
            cursor.check_size(submission.max_series)
        self._cursors[submission.key] = cursor
        self._clocks_behind[submission.key] = submission.clock_behind
        self._touched.add(submission.key)
        self._entries += taken
        self._count(taken, num_duplicates, cursor.lost_frames - lost_before)
        return num_duplicates

    def _cursor_of(self, submission: Submission) -> Cursor:
        run = self._runs.get(submission.run_id)
        if run is not None and submission.project not in (None, run.project):
            run = None
        if run is not None and run.deleted_at is not None:
            raise deleted(submission.run_id)
        cursor = self._cursors.get(submission.key)
        if run is None or cursor is None:
            part = "" if run is None else f", rank {submission.rank}, attempt {submission.attempt}"
            raise UnknownRunError(
                f"run {submission.run_id}{part} was never declared here: POST /api/v1/runs first"
            )
        if cursor.session != submission.session:
            raise AttemptTakenError(
                f"attempt {submission.attempt} of run {submission.run_id} is written by another process: "
                f"declare attempt {run.attempt + 1}",
                next_attempt=run.attempt + 1,
            )
        return cursor

    def _count(self, taken: list[tuple[Key, int, Entry]], num_duplicates: int, lost_frames: int) -> None:
        self.tally.duplicates += num_duplicates
        self.tally.lost_frames += lost_frames
        self.tally.records += len(taken)
        self.tally.points += sum(entry.num_steps * entry.columns for _, _, entry in taken)
        self.tally.bytes += sum(len(entry.data) for _, _, entry in taken)

    def write(self, connection: sa.Connection) -> None:
        """Stores all that was accepted."""
        if self._entries:
            connection.execute(sa.insert(records), [_record_row(*entry) for entry in self._entries])
        self._write_layouts(connection)
        if self._touched:
            rows = [self._cursor_row(key) for key in sorted(self._touched)]
            connection.execute(_UPDATE_CURSOR, rows)
            run_ids = sorted({key[0] for key in self._touched})
            connection.execute(_UPDATE_RUN, [self._run_row(connection, run_id) for run_id in run_ids])

    def _write_layouts(self, connection: sa.Connection) -> None:
        streams = [
            (key, number, stream)
            for key in sorted(self._touched)
            for number, stream in self._cursors[key].streams.items()
        ]
        new = [_layout_row(*item) for item in streams if item[2].is_new]
        moved = [_layout_step(*item) for item in streams if item[2].has_moved and not item[2].is_new]
        if new:
            connection.execute(sa.insert(layouts), new)
        if moved:
            connection.execute(sa.update(layouts).where(*_AT_LAYOUT), moved)

    def _cursor_row(self, key: Key) -> dict[str, Any]:
        cursor = self._cursors[key]
        return {
            **_address(key),
            "next_sequence": cursor.next_sequence,
            "last_step": cursor.last_step,
            "closed": cursor.closed,
            "lost_records": cursor.lost_records,
            "lost_frames": cursor.lost_frames,
            "updated_at": self._now,
        }

    def _run_row(self, connection: sa.Connection, run_id: str) -> dict[str, Any]:
        run = self._runs[run_id]
        newest = [self._cursors[key] for key in self._touched if key[0] == run_id and key[2] == run.attempt]
        signed_at = self._last_sign(run_id)
        last_step, state = run.last_step, run.state
        if newest:
            last_step = max(last_step, *(cursor.last_step for cursor in newest))
            state = _run_state(connection, run, newest)
            is_old = self._now - signed_at > self._grace_seconds
            state = "lost" if is_old and state == "running" else state
            if state != run.state:
                self._states[run_id] = state
        values = {"to_heartbeat_at": signed_at, "to_last_step": last_step, "to_state": state}
        return {"of_run": run_id, **values}

    def _last_sign(self, run_id: str) -> float:
        """When the run was last alive: now, unless all that came of it is what a spool had kept for long.

        A run that was killed offline and synced later has been lost since then; nobody need be woken.
        """
        times = [
            min(entry.last_time + self._clocks_behind[key], self._now)
            for key, _, entry in self._entries
            if key[0] == run_id and entry.last_time >= EARLIEST_CLOCK
        ]
        told = max(times, default=self._now)
        return told if self._now - told > self._grace_seconds else self._now

    def news(self) -> Iterator[tuple[str, dict[str, object]]]:
        """What readers want to hear after the commit: new steps and changed states."""
        steps: dict[str, int] = {}
        for key, _, entry in self._entries:
            if entry.kind == "batch":
                steps[key[0]] = max(steps.get(key[0], -1), entry.last_step)
        for run_id, step in steps.items():
            yield "step", {"run_id": run_id, "step": step}
        for run_id, state in self._states.items():
            yield "run", {"run_id": run_id, "state": state}


def _lock_runs(connection: sa.Connection, run_ids: Sequence[str]) -> list[Any]:
    """The runs, in order; who holds a run's row alone moves its cursors.

    On PostgreSQL one by one: a distributed engine locks rows of one shard at a time.
    """
    if connection.dialect.name == "postgresql":
        groups = [[run_id] for run_id in run_ids]
    else:
        groups = [list(run_ids)]
    return [row for group in groups for row in connection.execute(_OF_RUNS, {"run_ids": group})]


def _newest_alerts(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, int]:
    query = (
        sa.select(alert_transitions.c.run_id, sa.func.max(alert_transitions.c.number))
        .where(alert_transitions.c.run_id.in_(run_ids))
        .group_by(alert_transitions.c.run_id)
    )
    return {run_id: number for run_id, number in connection.execute(query)}


def _load_cursors(connection: sa.Connection, keys: Sequence[Key]) -> dict[Key, Cursor]:
    of_keys = sa.tuple_(cursors.c.run_id, cursors.c.rank, cursors.c.attempt).in_(keys)
    found = {
        (row.run_id, row.rank, row.attempt): Cursor(
            row.session, row.next_sequence, row.last_step, row.closed, row.lost_records, row.lost_frames
        )
        for row in connection.execute(sa.select(cursors).where(of_keys))
    }
    of_layouts = sa.tuple_(layouts.c.run_id, layouts.c.rank, layouts.c.attempt).in_(list(found))
    for row in connection.execute(sa.select(layouts).where(of_layouts)):
        stream = StreamState(row.stream, unpack_names(row.columns), row.first_step, row.last_step)
        found[(row.run_id, row.rank, row.attempt)].streams[row.layout_id] = stream
    return found


def _run_state(connection: sa.Connection, run: RunPlace, newest: Sequence[Cursor]) -> str:
    """Crashed as soon as one rank is, finished when all are, running again when a lost one speaks."""
    endings = {cursor.ending for cursor in newest}
    if "crashed" in endings:
        return "crashed"
    if "reopened" in endings:
        return "running"
    if "finished" in endings:
        still_open = (
            sa.select(sa.func.count())
            .select_from(cursors)
            .where(cursors.c.run_id == run.run_id, cursors.c.attempt == run.attempt, ~cursors.c.closed)
        )
        if connection.execute(still_open).scalar_one() == 0:
            return "finished"
    return "running" if run.state == "lost" else run.state


def _address(key: Key) -> dict[str, Any]:
    return {"of_run": key[0], "of_rank": key[1], "of_attempt": key[2]}


def _layout_row(key: Key, number: int, stream: StreamState) -> dict[str, Any]:
    return {
        "run_id": key[0],
        "rank": key[1],
        "attempt": key[2],
        "layout_id": number,
        "stream": stream.stream,
        "columns": pack_names(stream.names),
        "first_step": stream.first_step,
        "last_step": stream.last_step,
    }


def _layout_step(key: Key, number: int, stream: StreamState) -> dict[str, Any]:
    steps = {"first_step": stream.first_step, "last_step": stream.last_step}
    return {**_address(key), "of_layout": number, **steps}


def _record_row(key: Key, sequence: int, entry: Entry) -> dict[str, Any]:
    return {
        "run_id": key[0],
        "rank": key[1],
        "attempt": key[2],
        "sequence": sequence,
        "kind": entry.kind,
        "layout_id": entry.layout_id,
        "first_step": entry.first_step,
        "last_step": entry.last_step,
        "body": entry.data,
    }
