"""Posting to receivers that hang, drip, flood, redirect, refuse, or are not there."""

import time
from email.utils import formatdate

import pytest

from foreshock.server.alerts.http_post import MAX_ANSWER_BYTES, MAX_RETRY_AFTER_SECONDS, HttpPost
from foreshock.server.alerts.notifier import DeliveryError


def failure_of(post, body=b"{}"):
    with pytest.raises(DeliveryError) as told:
        post(body)
    post.close()
    assert told.value.__cause__ is None and told.value.__context__ is None
    return told.value


def test_what_is_taken_has_arrived_whole(receiver):
    body = b'{"text": "' + b"a" * 300_000 + b'"}'
    HttpPost(f"http://{receiver.place}/hook?token=t", auth=("me", "pass"))(body)
    HttpPost(f"http://{receiver.place}/", bearer="word")(b"{}")
    (path, headers, got), (_, other, _) = receiver.requests
    assert (path, got) == ("/hook?token=t", body)
    assert headers["Authorization"] == "Basic bWU6cGFzcw==" and other["Authorization"] == "Bearer word"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("manner", ["hang", "drip"])
def test_a_receiver_that_never_answers_is_left(receiver, manner):
    receiver.behave = getattr(receiver, manner)
    told = failure_of(HttpPost(f"http://{receiver.place}/hook", timeout_seconds=0.6))
    assert str(told) == "no whole answer within 0.6 seconds" and not told.is_final
    # The connection itself is gone, not only our patience
    if manner == "drip":
        assert receiver.was_cut.wait(30)


def test_of_an_endless_answer_the_beginning_is_read(receiver):
    receiver.behave = receiver.flood
    told = failure_of(HttpPost(f"http://{receiver.place}/hook", timeout_seconds=30.0))
    assert str(told).startswith("answered 500 Internal Server Error: yyy")
    assert len(str(told)) < 400 < MAX_ANSWER_BYTES and receiver.was_cut.wait(30)


def test_a_redirect_is_refused_and_followed_by_nothing(receiver):
    receiver.behave = lambda exchange: exchange.answer(307, Location="/elsewhere")
    told = failure_of(HttpPost(f"http://{receiver.place}/hook"))
    assert told.is_final and "redirects" in str(told) and "/elsewhere" not in str(told)
    assert [path for path, _, _ in receiver.requests] == ["/hook"]


@pytest.mark.parametrize(
    ("status", "is_final"),
    [(400, True), (401, True), (404, True), (408, False), (425, False), (429, False), (500, False)],
)
def test_a_no_is_told_from_a_not_now(receiver, status, is_final):
    receiver.behave = lambda exchange: exchange.answer(status, b"because")
    told = failure_of(HttpPost(f"http://{receiver.place}/hook"))
    assert told.is_final == is_final and told.retry_after_seconds is None
    assert f"answered {status}" in str(told) and str(told).endswith(": because")


@pytest.mark.parametrize(
    ("said", "low", "high"),
    [
        ("7", 7, 7),
        ("1e9", MAX_RETRY_AFTER_SECONDS, MAX_RETRY_AFTER_SECONDS),
        ("-5", 0, 0),
        (formatdate(0, usegmt=True), 0, 0),
    ],
)
def test_when_to_come_back_is_read(receiver, said, low, high):
    receiver.behave = lambda exchange: exchange.answer(429, Retry_After=said)
    told = failure_of(HttpPost(f"http://{receiver.place}/hook"))
    assert low <= told.retry_after_seconds <= high


def test_a_date_to_come_back_at_is_read(receiver):
    receiver.behave = lambda exchange: exchange.answer(
        429, Retry_After=formatdate(time.time() + 500, usegmt=True)
    )
    told = failure_of(HttpPost(f"http://{receiver.place}/hook"))
    assert 300 <= told.retry_after_seconds <= 500


@pytest.mark.parametrize("said", ["soon", "nan", "Thu, 99 Foo"])
def test_a_senseless_time_is_none(receiver, said):
    receiver.behave = lambda exchange: exchange.answer(503, Retry_After=said)
    assert failure_of(HttpPost(f"http://{receiver.place}/hook")).retry_after_seconds is None


@pytest.mark.parametrize("place", ["127.0.0.1:1", "no-such-machine.invalid", "["])
def test_nobody_there_is_a_failure_that_may_pass(place):
    assert not failure_of(HttpPost(f"http://{place}/hook")).is_final


def test_a_server_that_hangs_up_is_a_failure(receiver):
    receiver.behave = lambda exchange: None
    assert "disconnected" in str(failure_of(HttpPost(f"http://{receiver.place}/hook")))
