"""Pushing to the real Alertmanager: fires, stays, gets worse, resolves, and survives restarts of both."""

import json
import shutil
import subprocess
from dataclasses import replace

import httpx
import pytest
from tests.conftest import require

from foreshock.server.alerts.alertmanager import PATH, AlertmanagerNotifier
from foreshock.server.alerts.channel import Channel
from foreshock.server.alerts.http_post import HttpPost
from foreshock.server.alerts.notifier import DeliveryError
from foreshock.server.alerts.outbox import Outbox
from foreshock.server.store.acknowledgements import acknowledge

pytestmark = pytest.mark.prometheus


def notifier_of(url, **said):
    return AlertmanagerNotifier(HttpPost(url + PATH), **said)


def states(alertmanager):
    return sorted((one["labels"]["severity"], one["labels"]["subject"]) for one in alertmanager.alerts())


def test_what_fires_is_there_for_amtool_and_what_resolves_is_gone(start_alertmanager, notification):
    alertmanager = start_alertmanager()
    push = notifier_of(alertmanager.url)
    push.notify([notification('hc "0"', subject="layer 3"), notification('hc "0"', subject="stream")])
    require(shutil.which("amtool") is not None, "amtool")
    command = ["amtool", f"--alertmanager.url={alertmanager.url}", "-o", "json", "alert", "query"]
    told = json.loads(
        subprocess.run([*command, "layer=3"], capture_output=True, text=True, check=True).stdout
    )
    assert told[0]["labels"] == {
        "alertname": "exit_amax",
        "attempt": "0",
        "claim": "rule",
        "layer": "3",
        "project": "demo",
        "rule": "exit_amax",
        "run": 'hc "0"',
        "severity": "critical",
        "subject": "layer 3",
    }
    assert told[0]["annotations"]["description"] == "Composite amax is 12.5."
    push.notify([notification('hc "0"', "resolved", 30, subject="layer 3")])
    assert states(alertmanager) == [("critical", "stream")]


def test_what_gets_worse_is_one_alert_and_not_two(start_alertmanager, notification):
    alertmanager = start_alertmanager()
    push = notifier_of(alertmanager.url)
    push.notify([notification(severity="warning")])
    assert states(alertmanager) == [("warning", "amax")]
    push.notify([replace(notification(severity="critical"), was_firing=True)])
    assert states(alertmanager) == [("critical", "amax")]


def test_a_run_whose_clock_is_ahead_resolves_all_the_same(start_alertmanager, notification):
    alertmanager = start_alertmanager()
    push = notifier_of(alertmanager.url)
    ahead = replace(notification(), fired_at=4e9)
    push.notify([ahead])
    assert states(alertmanager) == [("critical", "amax")]
    push.notify([replace(notification(state="resolved"), fired_at=4e9, resolved_at=4e9 + 1)])
    assert states(alertmanager) == []


def test_a_refusal_says_why(start_alertmanager):
    alertmanager = start_alertmanager()
    with pytest.raises(DeliveryError, match=r"400 Bad Request: .*invalid") as told:
        HttpPost(alertmanager.url + PATH)(b'[{"labels": {"no-name": "x"}}]')
    assert told.value.is_final


def make_box(engine, alertmanager, clock, **said):
    channel = Channel(notifier_of(alertmanager.url, **said), clock=clock)
    return Outbox(engine, [channel], public_url="http://here", clock=clock), channel


def renew(box, channel):
    channel.renew(lambda notifier: box.read_firing(channel, notifier))


def test_what_fires_is_told_again_until_it_resolves(engine, store, change, start_alertmanager):
    alertmanager = start_alertmanager()
    now = [50.0]
    box, channel = make_box(engine, alertmanager, lambda: now[0], renew_seconds=60)
    store("a", change("firing", 8), notifiers=["alertmanager"])
    store("b", change("firing", 8), change("resolved", 9), notifiers=["alertmanager"])
    store("c", change("pending", 8), notifiers=["alertmanager"])
    # Never sent: not begun by a renewal
    renew(box, channel)
    assert alertmanager.alerts() == [] and channel.health.last_renewal_at == 50.0
    box.deliver(channel)
    assert [one["labels"]["run"] for one in alertmanager.alerts()] == ["a"]
    # It has lost all that it knew, and hears of what fires, but not before the time
    alertmanager.stop()
    alertmanager.start()
    now[0] += 59
    renew(box, channel)
    assert alertmanager.alerts() == []
    now[0] += 2
    renew(box, channel)
    assert [one["labels"]["run"] for one in alertmanager.alerts()] == ["a"]
    # So does a collector that knows nothing but its database
    alertmanager.stop()
    alertmanager.start()
    renew(*make_box(engine, alertmanager, lambda: now[0]))
    (alert,) = alertmanager.alerts()
    assert alert["labels"]["run"] == "a" and alert["startsAt"] == "2023-11-14T22:13:28.000Z"
    store("a", change("resolved", 20), notifiers=["alertmanager"])
    box.deliver(channel)
    now[0] += 61
    renew(box, channel)
    assert alertmanager.alerts() == []


@pytest.mark.parametrize("renews", [True, False])
def test_what_somebody_has_seen_is_told_again_as_is_set(engine, store, change, start_alertmanager, renews):
    alertmanager = start_alertmanager()
    box, channel = make_box(engine, alertmanager, lambda: 50.0, renews_acknowledged=renews)
    store("a", change("firing", 8), notifiers=["alertmanager"])
    box.deliver(channel)
    acknowledge(engine, "a", 1, "mira", "")
    alertmanager.stop()
    alertmanager.start()
    renew(box, channel)
    assert len(alertmanager.alerts()) == int(renews)


def test_a_renewal_that_fails_is_noted_and_soon_tried_again(engine, store, change, start_alertmanager):
    alertmanager = start_alertmanager()
    now = [50.0]
    box, channel = make_box(engine, alertmanager, lambda: now[0])
    store("a", change("firing", 8), notifiers=["alertmanager"])
    box.deliver(channel)
    alertmanager.stop()
    renew(box, channel)
    assert "onnect" in channel.health.last_error and channel.health.last_renewal_at is None
    alertmanager.start()
    now[0] += 6
    renew(box, channel)
    assert len(alertmanager.alerts()) == 1 and channel.health.last_renewal_at == 56.0


def test_a_collector_and_its_alertmanager_are_restarted_and_nothing_is_lost(
    tmp_path, start_collector, start_alertmanager, writer_of, until
):
    """Real processes: a loss that is NaN fires; both are killed; it fires still, and then resolves."""
    alertmanager = start_alertmanager()
    (tmp_path / "notifiers.yml").write_text(
        f"notifiers:\n  - name: am\n    kind: alertmanager\n    url: {alertmanager.url}\n"
        "    renew_seconds: 1\n"
    )
    environment = {
        "FORESHOCK_NOTIFIERS_FILE": str(tmp_path / "notifiers.yml"),
        "FORESHOCK_LEASE_SECONDS": "1",
    }
    arguments = ("--port", "0", "--db", str(tmp_path / "foreshock.db"))

    def firing():
        return [one for one in alertmanager.alerts() if one["labels"]["subject"] == "loss"]

    collector = start_collector(*arguments, environment=environment)
    with httpx.Client(base_url=collector.url()) as http:
        writer = writer_of(http).start("loss", total_steps=1000)
        assert writer.send(writer.batch([0, 1], [1.0, float("nan")])).status_code == 200
        (alert,) = until(firing, "the alert has not come to Alertmanager")
    assert alert["labels"]["alertname"] == "nonfinite" and alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["snapshot"].endswith("/api/v1/alerts/run-1/1/snapshot.png")
    collector.kill()
    alertmanager.stop()
    alertmanager.start()
    assert firing() == []
    collector = start_collector(*arguments, environment=environment)
    with httpx.Client(base_url=collector.url()) as http:
        until(firing, "the alert has not come again")
        writer.http = http
        steps = range(2, 40)
        assert writer.send(writer.batch(steps, [1.0] * len(steps))).status_code == 200
        until(lambda: not firing(), "the alert has not resolved")
