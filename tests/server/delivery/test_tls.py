"""Delivery to the real Alertmanager behind TLS, whose certificate an authority of its own has signed."""

from pathlib import Path

import pytest
from tests.server.delivery.conftest import Certificate

from foreshock.server.alerts.notifier import DeliveryError
from foreshock.server.alerts.notifiers_file import NotifiersFileError, read_notifiers
from foreshock.server.alerts.switchboard import make_channels
from foreshock.server.settings import Settings


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return Certificate.make(tmp_path_factory.mktemp("certificate"))


def channel_of(folder: Path, url: str, *more: str):
    """The Alertmanager that a notifiers' file names, as the collector makes it."""
    file = folder / "notifiers.yml"
    lines = ["notifiers:", "  - name: am", "    kind: alertmanager", f"    url: {url}"]
    file.write_text("\n".join([*lines, *(f"    {line}" for line in more)]) + "\n")
    channels = {one.name: one for one in make_channels(Settings(notifiers_file=str(file)))}
    return channels["am"]


@pytest.mark.prometheus
def test_an_authority_that_is_named_is_trusted_and_no_other(
    tmp_path, start_alertmanager, certificate, notification
):
    alertmanager = start_alertmanager(certificate=certificate)
    assert alertmanager.url.startswith("https://")
    channel = channel_of(tmp_path, alertmanager.url, f"ca_file: {certificate.authority}")
    channel.notifier.notify([notification()])
    assert [one["labels"]["run"] for one in alertmanager.alerts()] == ["a"]
    other = tmp_path / "other"
    other.mkdir()
    for trusted in ([], [f"ca_file: {Certificate.make(other).authority}"]):
        stranger = channel_of(tmp_path, alertmanager.url, *trusted)
        with pytest.raises(DeliveryError, match="name the authority that signed its certificate in ca_file"):
            stranger.notifier.notify([notification("b")])
    # A name that the certificate does not have
    elsewhere = channel_of(
        tmp_path, alertmanager.url.replace("127.0.0.1", "localhost"), f"ca_file: {certificate.authority}"
    )
    with pytest.raises(DeliveryError, match="Hostname mismatch"):
        elsewhere.notifier.notify([notification("b")])
    assert [one["labels"]["run"] for one in alertmanager.alerts()] == ["a"]


@pytest.mark.parametrize(
    ("url", "content", "told"),
    [
        ("https://here", None, "line 5: notifier am: ca_file: the file cannot be read: No such file"),
        ("https://here", "no certificate", "line 5: notifier am: ca_file: the file holds no certificates"),
        ("https://here", "", "the file holds no certificates in PEM"),
        ("http://here", "whole", "ca_file is for addresses that begin with https://"),
    ],
)
def test_what_is_no_authority_is_refused_with_its_line(tmp_path, certificate, url, content, told):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(certificate.authority.read_text() if content == "whole" else content)
    notifiers = tmp_path / "notifiers.yml"
    notifiers.write_text(
        f"notifiers:\n  - name: am\n    kind: alertmanager\n    url: {url}\n    ca_file: {file}\n"
    )
    with pytest.raises(NotifiersFileError) as refused:
        read_notifiers(notifiers)
    assert told in str(refused.value)
