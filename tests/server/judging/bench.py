"""A judge that takes its turns by hand, and runs that are sent to it as a probe does."""

import itertools

import msgspec
import sqlalchemy as sa

from foreshock.server.judge import Judge, JudgeSettings
from foreshock.server.store.schema import alert_transitions, alerts, runs

SETTINGS = JudgeSettings(
    interval_seconds=0.0, rank_grace_seconds=30, heartbeat_grace_seconds=60, notifiers=("memory",)
)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self, now=10_000.0):
        self.now = now

    def __call__(self):
        return self.now


class Bench:
    """A collector's database with a judge that takes its turns by hand."""

    def __init__(self, engine):
        self.engine = engine
        self.clock = Clock()
        self.rung = []
        self.judge = self.replace()

    def replace(self, settings=SETTINGS):
        """A new judge, as after a crash, once the old one's leases have run out."""
        self.clock.now += SETTINGS.lease_seconds + 1
        self.judge = Judge(
            self.engine, settings, lambda name, data: self.rung.append((name, data)), self.clock, self.clock
        )
        return self.judge

    def turns(self, count=1):
        for _ in range(count):
            self.judge.turn()
            self.clock.now += 0.01

    def rows(self, table, *where):
        order = [column for column in table.primary_key.columns]
        with self.engine.connect() as connection:
            found = connection.execution_options(only_reads=True).execute(
                sa.select(table).where(*where).order_by(*order)
            )
            return [dict(row) for row in found.mappings()]

    def set(self, run_id, **values):
        with self.engine.begin() as connection:
            connection.execute(sa.update(runs).where(runs.c.run_id == run_id).values(values))

    def told(self, run_id="run-1"):
        """(rule, subject, state, step) of every transition, in the order of their numbers."""
        named = {row["alert_id"]: row for row in self.rows(alerts, alerts.c.run_id == run_id)}
        return [
            (named[row["alert_id"]]["rule"], named[row["alert_id"]]["subject"], row["state"], row["step"])
            for row in self.rows(alert_transitions, alert_transitions.c.run_id == run_id)
        ]


def columns_of(rows):
    """Columns of the stream of every step, and of the slower one."""
    every = tuple(name for name in rows[1] if not name.startswith("composite"))
    slow = tuple(name for name in rows[0] if name.startswith("composite"))
    return every, slow


def write(writer, rows, cuts=(), first=0, **said):
    """Sends a trace as a probe does: slow streams before the steps that they belong to."""
    every, slow = columns_of(rows)
    if first == 0:
        assert writer.declare(**said).status_code == 200
        layouts = [writer.layout(*every, layout_id=0)]
        if slow:
            layouts.append(writer.layout(*slow, layout_id=1, stream="composite"))
        assert writer.send(*layouts).status_code == 200
    edges = [first, *[cut for cut in cuts if first < cut < len(rows)], len(rows)]
    for start, stop in itertools.pairwise(edges):
        records = []
        steps = [step for step in range(start, stop) if slow and slow[0] in rows[step]]
        if steps:
            values = [[rows[step][name] for name in slow] for step in steps]
            records.append(writer.batch(steps, values, layout_id=1))
        values = [[rows[step][name] for name in every] for step in range(start, stop)]
        records.append(writer.batch(range(start, stop), values, layout_id=0))
        assert writer.send(*records).status_code == 200
        yield stop


HC = {"total_steps": 200, "config": {"connection": "hc"}}


def judge_all(bench, writer, rows, cuts=(), restart=False, **said):
    for _ in write(writer, rows, cuts, **said):
        if restart:
            bench.replace()
        bench.turns(2)


def cut_by_cut(case, block, edges):
    """Transitions and detector state of a case that is shown a block in pieces, as bytes."""
    found = []
    for start, stop in itertools.pairwise(edges):
        part = block.part(start, stop)
        found += case.advance(part, int(part.steps[-1]))
    state = msgspec.msgpack.decode(case.detector.state())
    # Which definition of each rule judges: of those that are asked always it is another
    del state["marks"]
    return msgspec.msgpack.encode(found), msgspec.msgpack.encode(state)
