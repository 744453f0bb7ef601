"""How the outbox sends: what goes together, how often, how long, and what a refusal costs."""

import pytest
import sqlalchemy as sa

from foreshock.server.alerts.channel import Channel
from foreshock.server.alerts.firing import read_firing
from foreshock.server.alerts.notifier import DeliveryError
from foreshock.server.alerts.outbox import MAX_REFUSALS, MAX_TRIES, Outbox
from foreshock.server.alerts.selection import Selection
from foreshock.server.alerts.waiting import count_waiting
from foreshock.server.store.schema import alert_transitions, alerts, outbox


class Post:
    """Keeps messages, or refuses those that hold what it does not like."""

    name = "memory"

    def __init__(self):
        self.messages = []
        self.refusal = None
        self.disliked = None

    def notify(self, message):
        told = [(one.alert.run_id, one.alert.step) for one in message]
        if self.refusal is not None and (self.disliked is None or self.disliked in told):
            raise self.refusal
        self.messages.append(told)


class Desk:
    """An outbox with one notifier and a clock that is moved by hand."""

    def __init__(self, engine, **said):
        self.engine = engine
        self.now = 50.0
        self.post = Post()
        self.channel = Channel(self.post, clock=lambda: self.now, **said)
        self.box = Outbox(engine, [self.channel], clock=lambda: self.now, jitter=lambda: 0.5)

    def deliver(self, after=0.0):
        self.now += after
        return self.box.deliver(self.channel)

    def rows(self):
        query = sa.select(outbox).order_by(outbox.c.run_id, outbox.c.number)
        with self.engine.connect() as connection:
            return connection.execution_options(only_reads=True).execute(query).all()


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_what_waits_of_one_run_is_one_message(engine, store, change):
    store("a", change("firing", 8), change("firing", 9, subject="stream"), change("resolved", 20))
    store("b", change("firing", 8))
    desk = Desk(engine)
    assert desk.deliver() == 4
    assert desk.post.messages == [[("a", 8), ("a", 9), ("a", 20)], [("b", 8)]]
    # What fires still, and was told: for those that forget
    assert read_firing(engine, "memory", with_acknowledged=True) == [("a", 2), ("b", 1)]
    assert read_firing(engine, "another", with_acknowledged=True) == []
    assert count_waiting(engine) == {}


def test_what_is_held_back_is_one_digest_and_nothing_is_lost(engine, store, change):
    desk = Desk(engine, max_per_minute=2)
    for run in "abcde":
        store(run, change("firing", 8))
    assert desk.deliver() == 5
    assert desk.post.messages == [[(run, 8) for run in "abcde"]]
    for run in "fgh":
        store(run, change("firing", 8))
    # One message is left of two a minute
    assert desk.deliver() == 3 and desk.post.messages[1:] == [[(run, 8) for run in "fgh"]]
    store("a", change("resolved", 20))
    assert desk.deliver() == 0 and desk.deliver(29) == 0
    store("i", change("firing", 8))
    assert desk.deliver(1) == 2 and desk.post.messages[2:] == [[("a", 20), ("i", 8)]]
    assert all(row.delivered_at is not None for row in desk.rows())


def test_one_alert_that_is_refused_takes_no_other_with_it(engine, store, change):
    store("a", change("firing", 8), change("firing", 9, subject="stream"), change("resolved", 20))
    store("b", change("firing", 8))
    desk = Desk(engine)
    desk.post.refusal, desk.post.disliked = DeliveryError("answered 400", is_final=True), ("a", 8)
    assert desk.deliver() == 1 and desk.post.messages == [[("b", 8)]]
    assert desk.deliver() == 0  # alone now, refused, and those behind it wait their turn
    for _ in range(MAX_REFUSALS):
        desk.deliver(301)
    assert desk.post.messages == [[("b", 8)], [("a", 9)], [("a", 20)]]
    first = desk.rows()[0]
    assert first.tries == MAX_REFUSALS and first.delivered_at is None
    assert first.last_error == f"given up after {MAX_REFUSALS} tries: answered 400"
    assert count_waiting(engine) == {"memory": (0, 1)}
    assert desk.channel.health.given_up == 1 and desk.channel.health.last_error == "answered 400"


def test_a_digest_that_is_refused_is_taken_apart_too(engine, store, change):
    desk = Desk(engine, max_per_minute=1)
    for run in "abc":
        store(run, change("firing", 8))
    desk.post.refusal, desk.post.disliked = DeliveryError("answered 422", is_final=True), ("b", 8)
    for _ in range(9):
        desk.deliver(60)
    assert sorted(desk.post.messages) == [[("a", 8)], [("c", 8)]]


def test_a_refusal_is_given_up_soon(engine, store, change):
    assert MAX_REFUSALS < MAX_TRIES
    store("a", change("firing", 8))
    desk = Desk(engine)
    desk.post.refusal = DeliveryError("no", is_final=True)
    pauses = []
    for _ in range(MAX_REFUSALS - 1):
        desk.deliver()
        pauses.append(desk.rows()[0].next_try_at - desk.now)
        desk.now += pauses[-1]
    assert pauses == [1, 4, 16, 64]
    desk.deliver()
    assert desk.rows()[0].last_error == f"given up after {MAX_REFUSALS} tries: no"


def test_absence_is_borne_for_a_day(engine, store, change):
    store("a", change("firing", 8))
    desk = Desk(engine)
    desk.post.refusal = OSError("gone")
    began = desk.now
    while desk.now < began + 23 * 3600:
        desk.deliver(300)
    desk.post.refusal = None
    assert desk.deliver(600) == 1


def test_a_receiver_that_asks_for_patience_gets_it_for_all_runs(engine, store, change):
    store("a", change("firing", 8))
    desk = Desk(engine)
    desk.post.refusal = DeliveryError("answered 429", retry_after_seconds=100.0)
    assert desk.deliver() == 0
    desk.post.refusal = None
    store("b", change("firing", 8))
    assert desk.deliver(99) == 0
    assert desk.deliver(2) == 2
    assert desk.channel.describe()["held_until"] is None


def test_what_is_not_wanted_is_done_with_and_delays_nothing(engine, store, change):
    selection = Selection("warning", claims=("rule",), rules=("exit_*",), send_resolved=False)
    desk = Desk(engine, selection=selection, max_per_minute=1)
    store(
        "a",
        change("firing", 8, severity="info"),
        change("firing", 9, claim="event", subject="s"),
        change("firing", 10, rule="loss_spike"),
        change("firing", 11, severity="warning", subject="stream"),
        change("resolved", 12, severity="warning", subject="stream"),
    )
    assert desk.deliver() == 1 and desk.post.messages == [[("a", 11)]]
    assert [row.withheld is None for row in desk.rows()] == [False, False, False, True, False]
    assert count_waiting(engine) == {}


def test_what_a_deleted_run_left_behind_blocks_nothing(engine, store, change):
    store("a", change("firing", 8))
    store("b", change("firing", 8))
    with engine.begin() as connection:
        for table in (alert_transitions, alerts):
            connection.execute(sa.delete(table).where(table.c.run_id == "a"))
    desk = Desk(engine)
    assert desk.deliver() == 1 and desk.post.messages == [[("b", 8)]]
    assert count_waiting(engine) == {}


def test_of_what_another_process_has_begun_nothing_is_sent_before_its_turn(engine, store, change):
    store("a", change("firing", 8), change("resolved", 20))
    desk, other = Desk(engine), Desk(engine)

    def notify(message):
        assert other.deliver() == 0
        desk.post.messages.append([one.alert.step for one in message])

    desk.post.notify = notify
    assert desk.deliver() == 2 and other.post.messages == [] and desk.post.messages == [[8, 20]]
