"""The webhook's body, held against what the real Alertmanager posts for the same alerts."""

from dataclasses import replace

import msgspec
import pytest

from foreshock.server.alerts.http_post import HttpPost
from foreshock.server.alerts.webhook import WebhookNotifier, webhook_body
from foreshock.server.nonfinite import encode_json


def shape(value):
    """Keys and types; of a mapping of words only that it is one."""
    match value:
        case dict() if all(isinstance(one, str) for one in value.values()):
            return "words"
        case dict():
            return {name: shape(one) for name, one in value.items()}
        case list():
            return [shape(one) for one in value]
    return type(value).__name__


@pytest.mark.prometheus
def test_the_body_is_the_one_that_alertmanager_posts(receiver, start_alertmanager, notification, until):
    alertmanager = start_alertmanager(f"http://{receiver.place}/alertmanager")
    severities = ("info", "warning", "critical")
    message = [
        replace(notification('hc "0"', severity=severity), fingerprint=severity) for severity in severities
    ]
    body = webhook_body(message, alertmanager.url, "hook", max_alerts=2)
    pushed = [
        {name: one[name] for name in ("labels", "annotations", "generatorURL")}
        for one in webhook_body(message, "")["alerts"]
    ]
    HttpPost(f"{alertmanager.url}/api/v2/alerts")(encode_json(pushed))
    theirs = until(
        lambda: next((one for one in receiver.bodies if one["truncatedAlerts"] == 1), None),
        "Alertmanager has posted nothing",
    )
    assert shape(body) == shape(theirs)
    for name in ("version", "status", "receiver", "groupLabels", "groupKey", "commonLabels"):
        assert body[name] == theirs[name], name
    assert body["truncatedAlerts"] == theirs["truncatedAlerts"] == 1
    ours_first, theirs_first = body["alerts"][0], theirs["alerts"][0]
    assert {one["labels"]["severity"] for one in theirs["alerts"]} < {"info", "warning", "critical"}
    for name in ("status", "annotations", "endsAt", "generatorURL"):
        assert ours_first[name] == theirs_first[name], name


def test_several_alerts_are_one_body(receiver, notification):
    hook = WebhookNotifier(HttpPost(f"http://{receiver.place}/"), "http://here")
    message = [notification(), notification(subject="stream"), notification(state="resolved", step=30)]
    hook.notify(message)
    (body,) = receiver.bodies
    # Of the one that has fired and resolved, how it is now
    told = {one["labels"]["subject"]: one["status"] for one in body["alerts"]}
    assert told == {"amax": "resolved", "stream": "firing"} and body["status"] == "firing"
    assert "subject" not in body["commonLabels"] and body["commonLabels"]["run"] == "a"
    assert body["receiver"] == "webhook"


def test_a_digest_of_several_runs_groups_by_what_they_share(notification):
    body = webhook_body([notification("a"), notification("b")], "")
    assert body["groupLabels"] == {"alertname": "exit_amax"}
    assert body["groupKey"] == '{}:{alertname="exit_amax"}'
    other = webhook_body([notification("a"), notification("b", rule="loss_spike")], "")
    assert (other["groupLabels"], other["groupKey"]) == ({}, "{}:{}")


def test_all_resolved_is_resolved_and_endless_words_are_cut(notification):
    one = notification(state="resolved", step=9)
    endless = replace(one, alert=msgspec.structs.replace(one.alert, reason="x" * 10_000))
    body = webhook_body([endless], "")
    assert body["status"] == "resolved"
    assert len(body["alerts"][0]["annotations"]["description"]) == 4096


def test_what_it_rests_on_is_told_where_the_rule_says_so(notification):
    one = notification(subject="layer 3")
    grounds = {"signal": "stream_max", "layer": 7, "risk": {"20": 0.913, "5%": 1.0}, "eta_steps": 34.4}
    known = replace(one, alert=msgspec.structs.replace(one.alert, **grounds))
    (told,) = webhook_body([known], "")["alerts"]
    # Of the subject, which stays; what speaks loudest may change and is no label
    assert told["labels"]["layer"] == "3" and "signal" not in told["labels"]
    said = {name: told["annotations"][name] for name in ("signal", "layer", "risk", "eta_steps")}
    assert said == {
        "signal": "stream_max",
        "layer": "7",
        "risk": "0.91 within 20, 1 within 5%",
        "eta_steps": "34",
    }
