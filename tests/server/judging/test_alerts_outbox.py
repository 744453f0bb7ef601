"""Notifications: at least once, in order for each run, patient, and never in each other's way."""

import http.server
import json
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

from foreshock.server.alerts.http_post import HttpPost
from foreshock.server.alerts.life import Transition
from foreshock.server.alerts.log import LogNotifier
from foreshock.server.alerts.notifier import MemoryNotifier
from foreshock.server.alerts.outbox import MAX_TRIES, Outbox
from foreshock.server.alerts.webhook import WebhookNotifier, webhook_body
from foreshock.server.store.alerts import write_transitions
from foreshock.server.store.schema import outbox

GOLDEN = Path(__file__).parent / "webhook_body.json"


def transition(state, step, opened=3, rule="exit_amax"):
    return Transition(
        rule,
        "amax",
        "rule",
        "critical",
        state,
        opened,
        step,
        1_700_000_000.0 + step,
        12.5,
        f"Composite amax is 12.5 at step {step}.",
        "Exit.",
    )


@pytest.fixture
def engine(http):
    return http.app.state.collector.engine


def store(engine, run_id, transitions, notifiers=("memory",)):
    with engine.begin() as connection:
        return write_transitions(connection, run_id, "demo", 0, transitions, notifiers)


def rows(engine):
    with engine.connect() as connection:
        query = sa.select(outbox).order_by(outbox.c.run_id, outbox.c.number)
        return connection.execution_options(only_reads=True).execute(query).all()


class Refusing(MemoryNotifier):
    """Refuses some runs for a while."""

    refused = frozenset({"a"})

    def notify(self, message):
        if message[0].alert.run_id in self.refused:
            raise ConnectionError("not today")
        super().notify(message)


def make_outbox(engine, *notifiers, clock=lambda: 50.0):
    return Outbox(engine, notifiers, public_url="http://here:1/", clock=clock, jitter=lambda: 0.5)


def test_each_notification_is_delivered_once_and_in_order(engine):
    store(engine, "a", [transition("pending", 3), transition("firing", 8), transition("resolved", 20)])
    memory = MemoryNotifier()
    box = make_outbox(engine, memory)
    assert box.deliver(memory) == 2 and box.deliver(memory) == 0
    told = [(one.alert.state, one.alert.step, one.page) for one in memory.received]
    assert told == [
        ("firing", 8, "http://here:1/runs/a?from=0&to=58&attempt=0"),
        ("resolved", 20, "http://here:1/runs/a?from=0&to=70&attempt=0"),
    ]
    assert len({one.fingerprint for one in memory.received}) == 1
    assert memory.received[1].resolved_at == 1_700_000_020.0
    assert memory.received[1].fired_at == 1_700_000_008.0


def test_a_run_whose_notification_fails_waits_and_others_do_not(engine):
    store(engine, "a", [transition("firing", 8), transition("resolved", 9)])
    store(engine, "b", [transition("firing", 8)])
    now = [50.0]
    refusing = Refusing()
    box = make_outbox(engine, refusing, clock=lambda: now[0])
    assert box.deliver(refusing) == 1
    assert [one.alert.run_id for one in refusing.received] == ["b"]
    first = rows(engine)[0]
    assert (first.tries, first.next_try_at) == (1, 51.0) and "not today" in first.last_error
    refusing.refused = frozenset()
    assert box.deliver(refusing) == 0  # not yet due, and the later one waits behind it
    now[0] = 51.5
    assert box.deliver(refusing) == 2
    assert [one.alert.step for one in refusing.received[1:]] == [8, 9]


def test_it_gives_up_after_a_bounded_number_of_tries_and_says_so(engine):
    store(engine, "a", [transition("firing", 8)])
    now = [50.0]
    refusing = Refusing()
    box = make_outbox(engine, refusing, clock=lambda: now[0])
    for _ in range(MAX_TRIES + 3):
        box.deliver(refusing)
        now[0] += 1000
    (row,) = rows(engine)
    assert row.tries == MAX_TRIES and row.last_error.startswith(f"given up after {MAX_TRIES} tries")
    assert row.delivered_at is None


def test_two_outboxes_on_one_database_do_not_deliver_the_same_thing_at_the_same_time(engine):
    store(engine, "a", [transition("firing", 8)])
    second = MemoryNotifier()
    other = make_outbox(engine, second)

    class Nested(MemoryNotifier):
        def notify(self, message):
            assert other.deliver(second) == 0
            super().notify(message)

    nested = Nested()
    assert make_outbox(engine, nested).deliver(nested) == 1
    assert second.received == []


def test_a_delivery_that_died_is_tried_again(engine):
    store(engine, "a", [transition("firing", 8)])

    class Dying(MemoryNotifier):
        def notify(self, message):
            raise SystemExit

    dying = Dying()
    with pytest.raises(SystemExit):
        make_outbox(engine, dying).deliver(dying)
    memory = MemoryNotifier()
    assert make_outbox(engine, memory).deliver(memory) == 0
    assert make_outbox(engine, memory, clock=lambda: 111.0).deliver(memory) == 1


def test_a_notifier_that_hangs_delays_no_other(engine):
    release, heard = threading.Event(), threading.Event()

    class Hanging(MemoryNotifier):
        def notify(self, message):
            release.wait(30)

    class Heard(MemoryNotifier):
        def notify(self, message):
            super().notify(message)
            heard.set()

    hanging, memory = Hanging(name="slow"), Heard(name="fast")
    store(engine, "a", [transition("firing", 8)], ("slow", "fast"))
    box = Outbox(engine, (hanging, memory), pause_seconds=0.01)
    box.start()
    try:
        assert heard.wait(20)
        heard.clear()
        store(engine, "b", [transition("firing", 9)], ("slow", "fast"))
        assert heard.wait(20)
        assert [one.alert.run_id for one in memory.received] == ["a", "b"]
    finally:
        release.set()
        box.stop()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Refuses twice, then accepts."""

    bodies: ClassVar[list[Any]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(body))
        self.send_response(503 if len(self.bodies) <= 2 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_a_webhook_that_refuses_twice_gets_it_the_third_time(engine):
    Receiver.bodies = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    webhook = WebhookNotifier(
        HttpPost(f"http://127.0.0.1:{server.server_address[1]}/hook", 5.0), "http://here:1"
    )
    store(engine, "a", [transition("firing", 8)], ("webhook",))
    now = [50.0]
    box = make_outbox(engine, webhook, clock=lambda: now[0])
    try:
        delivered = []
        for _ in range(4):
            delivered.append(box.deliver(webhook))
            now[0] += 100
    finally:
        webhook.post.close()
        server.shutdown()
        thread.join()
        server.server_close()
    assert delivered == [0, 0, 1, 0]
    assert len(Receiver.bodies) == 3 and Receiver.bodies[0] == Receiver.bodies[2]
    assert Receiver.bodies[0]["version"] == "4"


def test_the_webhooks_body_is_alertmanagers(engine):
    store(engine, "hc-seed-0", [transition("firing", 8), transition("resolved", 20)])
    memory = MemoryNotifier()
    make_outbox(engine, memory).deliver(memory)
    bodies = [webhook_body([one], "http://here:1") for one in memory.received]
    assert bodies == json.loads(GOLDEN.read_text())


def test_the_log_gets_one_line_at_the_level_of_the_severity(engine, caplog):
    store(engine, "a", [transition("firing", 8)], ("lines",))
    notifier = LogNotifier(name="lines")
    with caplog.at_level("INFO", "foreshock.alerts"):
        make_outbox(engine, notifier).deliver(notifier)
    (record,) = caplog.records
    assert record.levelname == "ERROR" and "exit_amax of a at step 8" in record.message
