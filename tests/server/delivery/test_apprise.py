"""Apprise, in its process: words and picture arrive, failures are told, a service that hangs is left."""

import base64
import json
import subprocess
import sys

import pytest

from foreshock.server.alerts.apprise_notifier import AppriseNotifier
from foreshock.server.alerts.notifier import DeliveryError
from foreshock.server.errors import UnknownAlertError

PICTURE = b"\x89PNG of step 8"


def draw(run_id, alert_id):
    return PICTURE + f" {run_id} {alert_id}".encode()


def with_snapshot(one):
    return type(one)(
        **{name: getattr(one, name) for name in one.__slots__} | {"snapshot": "http://here/s.png"}
    )


def test_words_and_picture_arrive_at_a_json_service(receiver, notification):
    url = f"json://me:word@{receiver.place}/path"
    AppriseNotifier("chat", url, picture=draw).notify([with_snapshot(notification())])
    (body,) = receiver.bodies
    assert body["title"] == "[critical] exit_amax firing in a at step 8" and body["type"] == "failure"
    assert body["message"].splitlines() == [
        "Composite amax is 12.5.",
        "Advice: Exit.",
        "Project demo, run a, critical, 2023-11-14 22:13:28 UTC",
        "http://here/runs/a",
        "http://here/s.png",
    ]
    (attached,) = body["attachments"]
    assert attached["mimetype"] == "image/png"
    assert base64.b64decode(attached["base64"]) == PICTURE + b" a 1"
    assert receiver.requests[0][1]["Authorization"] == "Basic bWU6d29yZA=="


def test_a_digest_is_one_message_with_all_of_it(receiver, notification):
    message = [notification("a"), notification("b", severity="warning"), notification("a", "resolved", 30)]
    AppriseNotifier("chat", f"json://{receiver.place}").notify(message)
    (body,) = receiver.bodies
    assert body["title"] == "[critical] 2 firing, 1 resolved in 2 runs"
    for one in message:
        assert f"exit_amax {one.alert.state} in {one.alert.run_id} at step" in body["message"]
    AppriseNotifier("chat", f"json://{receiver.place}").notify([message[2]])
    assert receiver.bodies[1]["type"] == "success"


def test_a_mail_arrives_with_its_picture(mail_receiver, notification):
    port = mail_receiver.server_address[1]
    url = f"mailto://127.0.0.1:{port}?from=f@example.org&to=t@example.org&mode=insecure"
    AppriseNotifier("mail", url, picture=draw).notify([with_snapshot(notification())])
    (mail,) = mail_receiver.mails
    assert "exit_amax firing in a at step 8" in mail and "To: t@example.org" in mail
    assert 'filename="snapshot.png"' in mail


def test_a_picture_that_cannot_be_drawn_or_is_not_taken_keeps_no_words_back(receiver, notification):
    def cannot(run_id, alert_id):
        raise UnknownAlertError("gone")

    AppriseNotifier("chat", f"json://{receiver.place}", picture=cannot).notify(
        [with_snapshot(notification())]
    )
    assert receiver.bodies[0]["attachments"] == []

    def refuse_pictures(exchange):
        has_picture = bool(receiver.bodies[-1]["attachments"])
        exchange.answer(413 if has_picture else 200)

    receiver.behave = refuse_pictures
    AppriseNotifier("chat", f"json://{receiver.place}", picture=draw).notify([with_snapshot(notification())])
    assert [bool(body["attachments"]) for body in receiver.bodies[1:]] == [True, False]


@pytest.mark.parametrize(
    ("url", "told", "is_final"),
    [
        ("json://127.0.0.1:1/x", "refused", False),
        ("json://no-such-machine.invalid/x", "no-such-machine", False),
        ("nonsense://x", "cannot read this address", True),
    ],
)
def test_what_fails_says_why(notification, url, told, is_final):
    with pytest.raises(DeliveryError, match=told) as failed:
        AppriseNotifier("chat", url).notify([notification()])
    assert failed.value.is_final == is_final


@pytest.mark.parametrize(("status", "is_final"), [(401, True), (429, False), (500, False)])
def test_a_no_of_the_service_is_told_from_a_not_now(receiver, notification, status, is_final):
    receiver.behave = lambda exchange: exchange.answer(status)
    with pytest.raises(DeliveryError, match=str(status)) as failed:
        AppriseNotifier("chat", f"json://{receiver.place}").notify([notification()])
    assert failed.value.is_final == is_final


def test_a_service_that_hangs_is_left_and_its_process_ended(receiver, notification):
    receiver.behave = receiver.drip
    chat = AppriseNotifier("chat", f"json://{receiver.place}?rto=100", timeout_seconds=3.0)
    with pytest.raises(DeliveryError, match="no answer within 3 seconds"):
        chat.notify([notification()])
    # Whoever held the other end is gone
    assert receiver.was_cut.wait(30)


def test_without_apprise_it_says_how_to_get_it(monkeypatch, notification):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DeliveryError, match="pip install 'foreshock"):
        AppriseNotifier("chat", "json://127.0.0.1:1").notify([notification()])


def test_a_collector_loads_neither_apprise_nor_pillow_until_they_are_needed():
    heavy = {"apprise", "PIL", "requests"}
    code = "import json, sys, foreshock.server.app; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert heavy & set(json.loads(told)) == set()
