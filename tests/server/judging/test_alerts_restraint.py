"""What is silenced waits, what was seen is done with: in the outbox, on both engines."""

import pytest
import sqlalchemy as sa

from foreshock.server.alerts.life import Transition
from foreshock.server.alerts.notifier import MemoryNotifier
from foreshock.server.alerts.outbox import Outbox
from foreshock.server.alerts.restraint import OVER, OVERTAKEN, UNHEARD
from foreshock.server.store.acknowledgements import acknowledge
from foreshock.server.store.alerts import write_transitions
from foreshock.server.store.schema import outbox, silences
from foreshock.server.store.silences import NewSilence, create_silence

pytestmark = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
NOW = 1_000.0


class Box:
    """A database, an outbox on it, and a clock that moves when it is told to."""

    def __init__(self, engine):
        self.engine = engine
        self.now = NOW
        self.memory = MemoryNotifier()
        self.outbox = Outbox(engine, [self.memory], clock=lambda: self.now)

    def find(self, state, step, run_id="a", rule="loss_spike", severity="warning", opened=0, **more):
        one = Transition(
            rule, "loss", "rule", severity, state, opened, step, 10.0 + step, 1.0, "Seen.", "Do.", **more
        )
        with self.engine.begin() as connection:
            write_transitions(connection, run_id, "demo", 0, [one], ["memory"])

    def silence(self, *matchers, seconds=100.0, **said):
        parts = [dict(zip(("name", "operator", "value"), one.split(), strict=True)) for one in matchers]
        new = NewSilence.model_validate(
            {
                "matchers": parts,
                "author": "mira",
                "comment": "why",
                "starts_at": self.now,
                "duration_seconds": seconds,
                **said,
            }
        )
        return create_silence(self.engine, new, self.now).silence_id

    def heard(self):
        """(run, state, step) of what was delivered since last asked."""
        self.outbox.deliver(self.memory)
        told = [(one.alert.run_id, one.alert.state, one.alert.step) for one in self.memory.received]
        self.memory.received.clear()
        return told

    def rows(self):
        with self.engine.connect() as connection:
            query = sa.select(outbox).order_by(outbox.c.run_id, outbox.c.number)
            return connection.execution_options(only_reads=True).execute(query).all()


@pytest.fixture
def box(http):
    return Box(http.app.state.collector.engine)


def test_what_is_silenced_waits_and_nothing_waits_behind_it(box):
    box.silence("rule = loss_spike")
    box.find("firing", 1)
    box.find("firing", 2, rule="exit_amax")
    box.find("firing", 3, run_id="b")
    assert box.heard() == [("a", "firing", 2)]
    assert [row.silence_id is not None for row in box.rows()] == [True, False, True]
    assert box.heard() == []


def test_what_still_fires_is_told_when_the_silence_ends(box):
    box.silence("rule = loss_spike")
    box.find("firing", 1)
    box.find("firing", 5, severity="critical")
    assert box.heard() == []
    box.now += 101
    assert box.heard() == [("a", "firing", 5)] and box.heard() == []
    assert [row.withheld for row in box.rows()] == [OVERTAKEN, None]
    box.find("resolved", 9, severity="critical")
    assert box.heard() == [("a", "resolved", 9)]


def test_what_began_and_ended_in_a_silence_is_never_told(box):
    box.silence("rule = loss_spike")
    box.find("firing", 1)
    assert box.heard() == []
    box.find("resolved", 5)
    assert box.heard() == []
    box.now += 101
    assert box.heard() == [] and {row.withheld for row in box.rows()} == {OVER}


def test_the_end_of_what_was_told_is_told_after_the_silence(box):
    box.find("firing", 1)
    assert box.heard() == [("a", "firing", 1)]
    box.silence("rule = loss_spike")
    box.find("resolved", 5)
    assert box.heard() == []
    box.now += 101
    assert box.heard() == [("a", "resolved", 5)]


def test_what_came_and_went_and_came_again_is_told_once(box):
    box.find("firing", 1)
    assert len(box.heard()) == 1
    box.silence("rule = loss_spike")
    for step, state in ((2, "resolved"), (3, "firing"), (4, "resolved"), (5, "firing")):
        box.find(state, step)
    assert box.heard() == []
    box.now += 101
    assert box.heard() == [("a", "firing", 5)]


def test_what_was_told_meanwhile_is_not_told_again_by_an_older_word(box):
    box.silence("severity = warning")
    box.find("firing", 1)
    box.find("firing", 2, severity="critical")
    assert box.heard() == [("a", "firing", 2)]
    box.now += 101
    assert box.heard() == [] and box.rows()[0].withheld == OVERTAKEN


def test_a_silence_that_somebody_ends_lets_it_out_at_once(box):
    silence_id = box.silence("rule = loss_spike")
    box.find("firing", 1)
    assert box.heard() == []
    with box.engine.begin() as connection:
        ended = sa.update(silences).where(silences.c.silence_id == silence_id)
        connection.execute(ended.values(expired_at=box.now))
    assert box.heard() == [("a", "firing", 1)]


def test_one_silence_after_the_other_holds_on(box):
    box.silence("rule = loss_spike")
    box.silence("run =~ a|b", seconds=500.0)
    box.find("firing", 1)
    assert box.heard() == []
    box.now += 101
    assert box.heard() == []
    box.now += 400
    assert box.heard() == [("a", "firing", 1)]


def test_a_silence_that_has_not_begun_silences_nothing(box):
    box.silence("rule = loss_spike", starts_at=NOW + 50)
    box.find("firing", 1)
    assert box.heard() == [("a", "firing", 1)]
    box.now += 51
    box.find("firing", 2, run_id="b")
    assert box.heard() == []


@pytest.mark.parametrize(
    ("matchers", "is_silenced"),
    [
        (["run = a"], True),
        (["run != a", "rule = loss_spike"], False),
        (["run =~ a.*", "severity !~ critical|info"], True),
        (["project = demo", "claim = rule", "subject = loss"], True),
        (["team = pre"], True),
        (["team = post"], False),
        (["shift = ", "run = a"], True),  # a label that it has not counts as empty
    ],
)
def test_all_matchers_must_fit(box, matchers, is_silenced):
    parts = [one.split() if len(one.split()) == 3 else [*one.split(), ""] for one in matchers]
    said = [dict(zip(("name", "operator", "value"), one, strict=True)) for one in parts]
    box.silence("run = nothing", matchers=said)
    box.find("firing", 1, labels={"team": "pre", "rule": "not its own"})
    assert (box.heard() == []) == is_silenced


def test_a_silence_of_another_project_silences_nothing(box):
    box.silence("rule = loss_spike", project="other")
    box.find("firing", 1)
    assert box.heard() == [("a", "firing", 1)]


def test_what_was_seen_before_it_was_told_is_not_told_unless_it_gets_worse(box):
    box.silence("rule = loss_spike", "severity = warning")
    box.find("firing", 1)
    assert box.heard() == []
    acknowledge(box.engine, "a", 1, "mira", "on it")
    box.now += 101
    assert box.heard() == [] and "mira had seen it" in box.rows()[0].withheld
    box.find("firing", 5, severity="critical")
    assert box.heard() == [("a", "firing", 5)]


def test_the_end_of_what_nobody_was_told_is_not_told(box):
    box.find("firing", 1)
    acknowledge(box.engine, "a", 1, "mira", "saw it on the page")
    assert box.heard() == []
    box.find("resolved", 5)
    assert box.heard() == [] and box.rows()[1].withheld == UNHEARD


def test_what_opens_again_has_been_seen_by_nobody(box):
    box.find("firing", 1)
    assert len(box.heard()) == 1
    acknowledge(box.engine, "a", 1, "mira", "on it")
    box.find("resolved", 5)
    box.find("firing", 9)
    assert box.heard() == [("a", "resolved", 5), ("a", "firing", 9)]


def test_two_outboxes_release_it_once(box):
    other = Box(box.engine)
    box.silence("rule = loss_spike")
    box.find("firing", 1)
    assert box.heard() == other.heard() == []
    box.now = other.now = NOW + 101
    assert box.heard() + other.heard() == [("a", "firing", 1)]
