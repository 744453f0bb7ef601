"""What must hold after a fault, asked of the collector's public door and of its database."""

import contextlib
import functools
import itertools
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import numpy as np
import sqlalchemy as sa
from tests.faults.collector import Collector
from tests.faults.load import Load, Log, StepArray, Stream, make_load
from tests.faults.outcome import Harm

from foreshock.server.detection.case import Case
from foreshock.server.store.chunks import checksum, unpack_steps
from foreshock.server.store.judgement import read_context
from foreshock.server.store.schema import (
    alert_transitions,
    alerts,
    chunks,
    compactions,
    detector_states,
    envelopes,
    outbox,
    records,
)

# Long after this a judge that has stopped will not go on
JUDGE_SECONDS: Final = 120.0

Key = tuple[str, int, int]


@contextlib.contextmanager
def open_engine(database: str) -> Iterator[sa.Engine]:
    """The database of a collector, beside it: a file's path or an address."""
    engine = sa.create_engine(database if "://" in database else f"sqlite:///{database}")
    yield engine
    engine.dispose()


def check(collector: Collector, load: Load) -> Harm:
    """Everything: to be called once all is delivered, and the collector runs."""
    with open_engine(collector.database) as engine:
        wait_until_judged(engine, load.logs)
        harm = check_frames(collector.url, load.logs, load.acknowledged(), is_whole=True)
        harm += Harm(lost=load.num_forgotten)
        harm += check_storage(engine) + check_judgements(read_judgements(engine), load.logs)
    return harm


def check_frames(
    url: str, logs: Sequence[Log], acknowledged: Mapping[Key, int], *, is_whole: bool = False
) -> Harm:
    """Holds the frames that a reader gets against those that were sent, bit for bit.

    Every acknowledged one must be there; of the others any may be, in their order, as they were sent.
    `is_whole`: nothing is under way any more, so the frames are counted.
    """
    harm = Harm()
    for log in logs:
        key = log.run_id, log.rank, log.attempt
        if key not in acknowledged:
            continue
        frames = log.frames_before(acknowledged[key])
        due = {number: log.streams[number].steps[:count] for number, count in frames.items()}
        if acknowledged[key]:
            one = check_due(url, log, due)
            harm += one if is_whole else replace(one, acknowledged=0)
    return harm


def check_due(url: str, log: Log, due: Mapping[int, StepArray]) -> Harm:
    """The same of one log, of which the frames of certain steps must be there."""
    found, harm = _read_frames(url, log), Harm(acknowledged=sum(map(len, due.values())))
    for number, stream in log.streams.items():
        harm += compare(stream, due[number], found.get(number, []))
    return harm


def _read_frames(url: str, log: Log) -> dict[int, list[dict[str, Any]]]:
    """Blocks by layout."""
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    query: dict[str, Any] = {"rank": log.rank, "attempt": log.attempt}
    while True:
        answer = httpx.get(
            f"{url}/api/v1/runs/{log.run_id}/frames",
            params=query,
            headers={"Accept": "application/msgpack"},
            timeout=60,
            trust_env=False,
        ).raise_for_status()
        page = msgspec.msgpack.decode(answer.content)
        for block in page["blocks"]:
            found[block["layout_id"]].append(block)
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


def compare(sent: Stream, due: StepArray, blocks: Sequence[dict[str, Any]]) -> Harm:
    """Holds blocks that were read of one stream against it; `due`: steps that must be among them."""
    steps = np.concatenate([np.zeros(0, np.int64), *(np.frombuffer(one["steps"], "<i8") for one in blocks)])
    once, places = np.unique(steps, return_index=True)
    known = np.isin(once, sent.steps)
    harm = Harm(
        lost=int((~np.isin(due, once)).sum()),
        doubled=len(steps) - len(once),
        false=int((~known).sum()),
    )
    if not known.any():
        return harm
    times = np.concatenate([np.frombuffer(one["times"], "<f8") for one in blocks])
    values = np.concatenate(
        [np.frombuffer(one["values"], "<u4").reshape(len(one["columns"]), -1) for one in blocks], axis=1
    )
    rows = np.searchsorted(sent.steps, once[known])
    are_same = times[places[known]] == sent.times[rows]
    are_same &= (values.T[places[known]] == sent.values.view(np.uint32)[rows]).all(axis=1)
    return harm + Harm(false=int((~are_same).sum()))


def check_storage(engine: sa.Engine) -> Harm:
    """Checksums of all chunks and envelopes; each frame in one window or in the log; a sound file."""
    harm = Harm()
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            harm += Harm(checksums=connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() != "ok")
        for row in connection.execute(sa.select(envelopes)):
            harm += Harm(checksums=checksum(row.summary, row.cells) != row.checksum)
        ends: dict[tuple[Any, ...], int] = {}
        for row in connection.execute(sa.select(chunks).order_by(*chunks.primary_key.columns)):
            harm += Harm(checksums=checksum(row.steps, row.times, row.body) != row.checksum)
            steps, part = unpack_steps(row.steps), tuple(row)[:5]
            harm += Harm(doubled=int((steps <= ends.get(part, -1)).sum()))
            ends[part] = int(steps[-1])
        stream = [compactions.c[name] for name in ("run_id", "rank", "attempt", "layout_id")]
        same = sa.and_(*(records.c[column.name] == column for column in stream))
        # A batch that reaches beyond the last window stays as it is until the next one
        twice = sa.select(sa.func.count()).select_from(records.join(compactions, same))
        is_in_chunks = (records.c.kind == "batch", records.c.last_step <= compactions.c.upto_step)
        harm += Harm(doubled=connection.execute(twice.where(*is_in_chunks)).scalar_one())
        told = {tuple(row) for row in connection.execute(sa.select(*stream, compactions.c.upto_step))}
        harm += Harm(lost=len(told ^ {(*part[:4], end) for part, end in ends.items()}))
    return harm


@dataclass(frozen=True)
class Judgement:
    """What was judged of one run: the stored case, its alerts and their transitions in their order."""

    case: tuple[Any, ...]
    alerts: tuple[tuple[Any, ...], ...]
    transitions: tuple[tuple[Any, ...], ...]
    notifications: tuple[tuple[Any, ...], ...]

    def num_differences(self, other: "Judgement") -> int:
        """How many of its parts are unlike those of the other."""
        pairs = [
            ((self.case,), (other.case,)),
            (self.alerts, other.alerts),
            (self.transitions, other.transitions),
            (self.notifications, other.notifications),
        ]
        return sum(one != another for mine, its in pairs for one, another in itertools.zip_longest(mine, its))


_ALERT: Final = (
    "alert_id", "alert_key", "attempt", "rule", "claim", "severity", "subject", "state", "opened_step",
    "fired_step", "resolved_step", "opened_at", "updated_at", "value", "reason", "outcome", "advice",
)  # fmt: skip
_TRANSITION: Final = ("number", "alert_id", "state", "step", "value", "reason", "time")
_NOTIFICATION: Final = ("number", "notifier")


def read_judgements(engine: sa.Engine) -> dict[str, Judgement]:
    """By run, or group of runs."""
    found: dict[str, list[Any]] = defaultdict(lambda: [(), (), (), ()])
    tables = ((alerts, _ALERT), (alert_transitions, _TRANSITION), (outbox, _NOTIFICATION))
    with engine.connect() as connection:
        for run_id, case in read_cases(connection).items():
            found[run_id][0] = (
                case.attempt, case.position, case.is_closed, case.absences, tuple(case._changes),
                tuple(sorted(case.next_sequences.items())), case.detector.state(),
            )  # fmt: skip
        for place, (table, names) in enumerate(tables, 1):
            columns = [table.c[name] for name in names]
            query = sa.select(table.c.run_id, *columns).order_by(table.c.run_id, *columns[:2])
            for run_id, *values in connection.execute(query):
                found[run_id][place] += (tuple(values),)
    return {run_id: Judgement(*parts) for run_id, parts in found.items()}


def read_cases(connection: sa.Connection) -> dict[str, Case]:
    """The stored case of every run that was judged."""
    stored = connection.execute(sa.select(detector_states.c.run_id, detector_states.c.state)).all()
    return {run_id: Case.unpack(state, read_context(connection, run_id)) for run_id, state in stored}


def wait_until_judged(engine: sa.Engine, logs: Sequence[Log]) -> None:
    """Returns when every run is judged to its end, or when the judge is given up."""
    deadline = time.monotonic() + JUDGE_SECONDS
    run_ids = {log.run_id for log in logs}
    while time.monotonic() < deadline:
        with contextlib.suppress(sa.exc.OperationalError), engine.connect() as connection:
            cases = read_cases(connection)
            if run_ids <= cases.keys() and all(cases[run_id].is_closed for run_id in run_ids):
                return
        time.sleep(0.2)


def check_judgements(found: Mapping[str, Judgement], logs: tuple[Log, ...]) -> Harm:
    """Holds what was judged against what a collector that met no fault has judged of the same logs."""
    expected = replay(logs)
    nothing = Judgement((), (), (), ())
    return Harm(
        judgements=sum(
            found.get(run_id, nothing).num_differences(expected.get(run_id, nothing))
            for run_id in found.keys() | expected.keys()
        )
    )


def replay(logs: tuple[Log, ...]) -> dict[str, Judgement]:
    """What a collector without faults judges of these logs."""
    return _replay(max(len(log.streams[0].steps) for log in logs), tuple(log.session for log in logs))


@functools.cache
def _replay(num_steps: int, _sessions: tuple[str, ...]) -> dict[str, Judgement]:
    of_writers = make_load(num_steps)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Collector(folder, str(folder / "clean.db")) as collector:
            load = Load(collector.url, of_writers, seconds=0)
            load.start()
            load.join()
            with open_engine(collector.database) as engine:
                wait_until_judged(engine, load.logs)
                judged = read_judgements(engine)
    if not {"dying", "spiking", "ranks"} <= {run_id for run_id, one in judged.items() if one.transitions}:
        raise AssertionError("no rule has fired in a collector without faults: nothing would be compared")
    return judged


def num_windows(engine: sa.Engine) -> int:
    """Windows that are in chunks."""
    with engine.connect() as connection:
        query = sa.select(sa.func.count()).select_from(chunks).where(chunks.c.part == 0)
        return int(connection.execute(query).scalar_one())
