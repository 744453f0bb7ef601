"""`foreshock alerts` against a real collector."""

import json
import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from tests.server.conftest import CollectorProcess, Writer
from typer.testing import CliRunner

from foreshock.server.alert_commands import alerts


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A collector that asks for a token, with a run whose loss turned NaN."""
    environment = {"FORESHOCK_TOKEN": "word", "FORESHOCK_JUDGE_INTERVAL_SECONDS": "0.05"}
    database = str(tmp_path_factory.mktemp("alerts") / "a.db")
    collector = CollectorProcess("--port", "0", "--db", database, environment=environment)
    found = collector.url()
    with httpx.Client(base_url=found, headers={"Authorization": "Bearer word"}) as client:
        writer = Writer(client).start("loss")
        writer.send(writer.batch(range(3), [1.0, 2.0, np.nan]))
        while not client.get("/api/v1/alerts").json()["total"]:
            time.sleep(0.05)
    yield found
    collector.stop()


@pytest.fixture(autouse=True)
def environment(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_URL", url)
    monkeypatch.setenv("FORESHOCK_TOKEN", "word")


def say(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(alerts, arguments)
    return result.exit_code, result.stdout, result.stderr


def test_an_alert_is_listed_shown_and_acknowledged() -> None:
    status, told, _ = say("list")
    assert status == 0 and told.startswith("run-1 1: firing critical nonfinite (loss) since step 2: ")
    assert json.loads(say("list", "--state", "firing", "--json")[1])["total"] == 1
    assert say("list", "--rule", "exit_amax")[:2] == (0, "no such alert\n")
    seen = say("ack", "run-1", "1", "--author", "mira", "--note", "went back to step 0")
    assert seen == (0, "alert 1 of run-1 is acknowledged by mira\n", "")
    lines = say("show", "run-1", "1")[1].splitlines()
    assert "acknowledged by mira" in lines[0] and lines[1].startswith("  what to do: ")
    assert lines[2].startswith("  firing at step 2, ") and lines[3].endswith(": went back to step 0")
    told_whole = json.loads(say("show", "run-1", "1", "--json")[1])
    assert len(told_whole["fingerprint"]) == 32
    assert [one["severity"] for one in told_whole["transitions"]] == ["critical"]


def test_a_silence_is_made_listed_and_ended() -> None:
    asked = ("silence", "rule=nonfinite", "run=~run-.*", "--author", "mira", "--comment", "known")
    made = json.loads(say(*asked, "--for", "2h", "--json")[1])
    assert made["ends_at"] - made["starts_at"] == pytest.approx(7200)
    assert "silenced" in say("list")[1]
    line = say("silences")[1]
    assert f"{made['silence_id']}: active, rule=nonfinite run=~run-.*, " in line and "known" in line
    assert ": expired, " in say("unsilence", made["silence_id"])[1]
    assert "silenced" not in say("list")[1]
    assert say(*asked, "--until", "2030-01-01T08:00", "--start", "2029-12-31")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "run-1", "99"), "no alert 99"),
        (("show", "nobody", "1"), "no alert 1"),
        (("ack", "run-1", "1", "--author", " "), "author"),
        (("list", "--state", "loud"), "state"),
        (("silence", "rule", "--author", "a", "--comment", "b", "--for", "1h"), "is no matcher"),
        (("silence", "rule=~(", "--author", "a", "--comment", "b", "--for", "1h"), "not closed"),
        (("silence", "rule=~.*", "--author", "a", "--comment", "b", "--for", "1h"), "fit every alert"),
        (("silence", "rule=a", "--author", "a", "--comment", "b", "--for", "soon"), "--for is 'soon'"),
        (("silence", "rule=a", "--author", "a", "--comment", "b", "--until", "soon"), "--until is 'soon'"),
        (("silence", "rule=a", "--author", "a", "--comment", "b"), "--for or --until"),
        (("unsilence", "5b1e"), "no silence '5b1e'"),
        (("list", "--token", "wrong"), "token"),
        (("silences", "--url", "http://127.0.0.1:1"), "--url or FORESHOCK_URL"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    status, told, wrong = say(*arguments)
    assert (status, told) == (2, "") and words in wrong and wrong.count("\n") == 1, wrong
