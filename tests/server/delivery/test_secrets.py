"""No secret gets out: not in errors, logs, the outbox, the API, nor in what represents an object."""

import base64
import json
import logging
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from foreshock.server.alerts.channel import Channel
from foreshock.server.alerts.notifier import DeliveryError
from foreshock.server.alerts.outbox import Outbox
from foreshock.server.alerts.secrets import HIDDEN, Secrets, shown_address
from foreshock.server.alerts.switchboard import make_channels
from foreshock.server.settings import Settings
from foreshock.server.store.schema import outbox

TOKEN = "Xq7sEcReT9zT0kEn"
PASSWORD = "p4ss:w/rd&%"
NOT_HIDDEN = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=4, max_size=40)


def contains(text, secret):
    """Whether a text tells the secret, in any form in which errors and logs quote things."""
    forms = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1]}
    forms |= {json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode().rstrip("=")}
    return any(form.lower() in text.lower() for form in forms)


@given(token=NOT_HIDDEN, before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_word_is_hidden_in_every_form(token, before, after):
    secrets = Secrets(words=[token])
    forms = [token, quote(token, safe=""), repr(token)[1:-1], json.dumps(token)[1:-1]]
    forms.append(base64.b64encode(token.encode()).decode())
    for form in forms:
        hidden = secrets.hide(f"{before} {form} {after}")
        assert form not in hidden.removeprefix(before).removesuffix(after) or form in HIDDEN


@given(
    token=st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789_-", min_size=8, max_size=30),
    shape=st.sampled_from(
        [
            "slack://{}/B/C/#c",
            "https://hooks.example.org/services/{}",
            "https://example.org/?key={}",
            "mailto://user:{}@mail.example.org",
            "pagerduty://{}@integration",
            "tgram://{}/12345",
            "https://{}@example.org/x",
            "discord://1234/{}/",
        ]
    ),
)
def test_an_address_is_hidden_whole_and_in_parts(token, shape):
    address = shape.format(token)
    secrets = Secrets([address])
    for said in (f"cannot reach {address}.", f"url: /services/{token} failed", f"host='{token.lower()}'"):
        assert token.lower() not in secrets.hide(said).lower()
    # And one that nobody has told it of
    assert token not in Secrets().hide(f"see {address}") and token not in shown_address(address)


def test_what_helps_is_still_said():
    secrets = Secrets([f"https://me:{TOKEN}@hooks.example.org:8443/services/{TOKEN}"])
    assert secrets.hide("ConnectError: Connection refused by hooks.example.org:8443, errno 111") == (
        "ConnectError: Connection refused by hooks.example.org:8443, errno 111"
    )
    assert shown_address("http://127.0.0.1:9093/api/v2/alerts?x=1") == "http://127.0.0.1:9093/***"
    assert shown_address("http://127.0.0.1:9093/") == "http://127.0.0.1:9093/"


def notifiers_at(place):
    """Every kind with its secrets, at a receiver that is told how to fail."""
    sign_in = f"username: someone, password: '{PASSWORD}'"
    return f"""
notifiers:
  - {{name: hook, kind: webhook, url: 'http://{place}/{TOKEN}?key={TOKEN}', {sign_in}, timeout_seconds: 2}}
  - {{name: am, kind: alertmanager, url: 'http://{place}/{TOKEN}', bearer: {TOKEN}, timeout_seconds: 2}}
  - {{name: chat, kind: apprise, url: 'json://me:{TOKEN}@{place}/{TOKEN}?rto=60', timeout_seconds: 4}}
"""


def echo(exchange):
    """Throws all that it was sent back, as debug pages do."""
    told = json.dumps({"path": exchange.path, "headers": dict(exchange.headers)})
    exchange.answer(401, told.encode())


MANNERS = {
    "echoes": echo,
    "redirects": lambda exchange: exchange.answer(302, Location=f"http://elsewhere/{TOKEN}"),
    "hangs up": lambda exchange: None,
    "hangs": None,
    "is not there": None,
    "has no name": None,
}


@pytest.mark.parametrize("manner", MANNERS)
def test_no_failure_of_any_kind_tells_a_secret(tmp_path, engine, store, change, receiver, caplog, manner):
    place = {"is not there": "127.0.0.1:1", "has no name": "no-such-machine.invalid"}.get(
        manner, receiver.place
    )
    receiver.behave = MANNERS[manner] or receiver.hang
    (tmp_path / "notifiers.yml").write_text(notifiers_at(place))
    channels = make_channels(Settings(notifiers_file=str(tmp_path / "notifiers.yml")))[1:]
    names = [channel.name for channel in channels]
    store("a", change("firing", 8), notifiers=names)
    box = Outbox(engine, channels, clock=lambda: 50.0)
    with caplog.at_level(logging.DEBUG):
        for channel in channels:
            assert box.deliver(channel) == 0
            channel.renew(lambda notifier, channel=channel: box.read_firing(channel, notifier))
    with engine.connect() as connection:
        query = sa.select(outbox.c.last_error)
        errors = [row[0] for row in connection.execution_options(only_reads=True).execute(query)]
    assert len(errors) == len(names) and all(errors)
    seen = [*errors, caplog.text, repr(channels), repr(box)]
    seen += [repr(channel.describe()) for channel in channels]
    for text in seen:
        for secret in (TOKEN, PASSWORD):
            assert not contains(text, secret), text
    # It is hidden, not silent
    assert caplog.text.count("did not take notification 1 of a") == len(names)


def test_an_error_of_a_notifier_of_ones_own_is_hidden_too_and_nothing_hangs_on_it(engine, store, change):
    class Own:
        name = "own"

        def notify(self, message):
            try:
                raise KeyError(TOKEN)
            except KeyError as error:
                raise RuntimeError(f"no way to https://example.org/{TOKEN}") from error

    channel = Channel(Own(), secrets=Secrets(words=[TOKEN]))
    with pytest.raises(DeliveryError, match=r"RuntimeError: no way to https://example.org/\*\*\*") as told:
        channel.send([])
    assert told.value.__cause__ is None and told.value.__context__ is None
