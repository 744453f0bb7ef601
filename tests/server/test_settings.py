"""Settings: each one documented, each refusal clear."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from foreshock.server.errors import StartError
from foreshock.server.settings import Settings

README = Path(__file__).parents[2] / "server" / "README.md"
TABLE = [line for line in README.read_text().splitlines() if line.startswith("| `FORESHOCK_")]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_readme_with_its_default(name: str) -> None:
    rows = [line for line in TABLE if line.startswith(f"| `FORESHOCK_{name.upper()}`")]
    assert len(rows) == 1
    default = Settings.model_fields[name].default
    shown = "-" if default in (None, ()) else f"`{default}`"
    assert rows[0].split("|")[2].strip() == shown
    assert Settings.model_fields[name].description in rows[0]


def test_the_readme_names_no_setting_that_does_not_exist() -> None:
    known = {f"FORESHOCK_{name.upper()}" for name in Settings.model_fields}
    assert {line.split("`")[1] for line in TABLE} == known


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "box.lan"])
def test_a_reachable_collector_needs_a_token(host: str) -> None:
    with pytest.raises(StartError, match="FORESHOCK_TOKEN"):
        Settings(host=host).check()
    with pytest.raises(StartError, match="FORESHOCK_TOKEN"):
        Settings(host=host, token="  ").check()
    Settings(host=host, token="word").check()
    Settings(host=host).check(has_admin_token=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    Settings(host=host).check()


def test_the_token_is_never_shown() -> None:
    assert "sesame" not in repr(Settings(token="sesame"))


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_PORT", "99")
    monkeypatch.setenv("FORESHOCK_TOKEN", "")
    monkeypatch.setenv("FORESHOCK_ALLOWED_HOSTS", '["a", "b"]')
    settings = Settings(host="localhost")
    assert (settings.port, settings.token, settings.allowed_hosts) == (99, None, ("a", "b"))


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError):
        Settings(colour="red")
