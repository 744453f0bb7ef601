"""`foreshock verdict` against a real collector: what it says, and the exit status that scripts read."""

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from tests.server.conftest import CollectorProcess, Writer
from typer.testing import CliRunner

from foreshock.server.verdict_commands import verdict
from foreshock.server.verdict_report import verdict_command

app = typer.Typer()
app.command()(verdict)
HOSTILE = "[red]hc[/red] \x9b2J"


def train(
    http: httpx.Client, run_id: str, key: str, seed: int, gain: float, loss: float, **said: Any
) -> None:
    writer = Writer(http, run_id=run_id, session=run_id)
    told = {"config": {"connection": key}, "seed": seed, "total_steps": 60, **said}
    assert writer.declare(**told).status_code == 200
    writer.send(writer.layout("loss", "composite_amax_forward_mean[0]", "layer_amax_forward_mean[0]"))
    rows = [[loss, math.exp(gain), 1.0]] * 60
    writer.send(writer.batch(range(60), rows), writer.event("finished", step=59))


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("verdict")
    started = CollectorProcess(
        "--port", "0", "--db", str(folder / "a.db"),
        environment={"FORESHOCK_TOKEN": "word", "FORESHOCK_JUDGE_INTERVAL_SECONDS": "0.05"},
    )  # fmt: skip
    url = started.url()
    with httpx.Client(base_url=url, headers={"Authorization": "Bearer word"}) as http:
        for seed in range(3):
            for project, calm in (("open", "mhc"), ("failed", "hc")):
                train(
                    http,
                    f"{project}-mhc-{seed}",
                    "mhc",
                    seed,
                    0.08 + 0.001 * seed,
                    2 + 0.001 * seed,
                    project=project,
                )
                spread = 1.0 if calm == "mhc" else 0.001
                name = HOSTILE if seed == 0 else f"hc {seed}"
                train(
                    http,
                    f"{project}-hc-{seed}",
                    "hc",
                    seed,
                    2 + spread * seed,
                    2 + spread * seed,
                    project=project,
                    name=name,
                )
        wait_until_judged(http)
        yield url
    started.stop()


def wait_until_judged(http: httpx.Client) -> None:
    while True:
        runs = http.get("/api/v1/runs", params={"limit": 100}).json()["runs"]
        if all(run["state"] == "finished" and run["summary"].get("step") == 59 for run in runs):
            return
        time.sleep(0.05)


@pytest.fixture
def say(collector: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("FORESHOCK_URL", collector)
    monkeypatch.setenv("FORESHOCK_TOKEN", "word")
    monkeypatch.setenv("COLUMNS", "160")

    def say(*arguments: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, result.stdout, result.stderr

    return say


def test_it_tells_each_condition_and_what_is_missing(say: Any) -> None:
    status, told, _ = say("open", "--group-by", "connection")
    assert status == 3 and told.startswith("Undecided: nothing speaks against a restart of mhc")
    for words in (
        "✓ Amax of mhc is back near 1",
        "? A stress test was warned",
        "→ Train a run that is made to fail",
    ):
        assert words in told
    for words in ("one-sided F test on logarithms", "weak: few seeds", "3 against 3", "constrained"):
        assert words in told


def test_a_condition_that_fails_ends_with_one(say: Any) -> None:
    status, told, _ = say("failed")
    assert status == 1 and "✗ Seeds agree on the peak gain" in told
    assert say("open", "--constrained", "hc", "--baseline", "mhc")[0] == 1


def test_json_is_the_collectors_answer_and_nothing_else(say: Any, collector: str) -> None:
    status, told, _ = say("open", "--json")
    assert status == 3 and json.loads(told)["state"] == "undecided"


def test_a_restart_ends_with_zero(monkeypatch: pytest.MonkeyPatch, say: Any, collector: str) -> None:
    told = json.loads(say("open", "--json")[1])
    told["state"] = "restart"
    monkeypatch.setattr("foreshock.server.verdict_report.ask", lambda *_: told)
    assert verdict_command("open", None, None, None, None, None, as_json=True) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nothing",), "No such project: project 'nothing' has no run here"),
        (("open", "--group-by", "seed"), "differ in their seed"),
        (("open", "--group-by", "conection"), "the nearest is 'connection'"),
        (("open", "--baseline", "mhc", "--constrained", "mhc"), "name two groups"),
        (("open", "--url", "http://127.0.0.1:9"), "no collector answers at http://127.0.0.1:9"),
        (("open", "--token", "wrong"), "A token is needed"),
    ],
)
def test_no_verdict_is_one_line_and_two(say: Any, arguments: tuple[str, ...], words: str) -> None:
    status, told, failed = say(*arguments)
    assert status == 2 and told == "" and words in failed and failed.count("\n") == 1


def test_a_hostile_name_neither_steers_the_terminal_nor_the_markup(say: Any, collector: str) -> None:
    with httpx.Client(base_url=collector, headers={"Authorization": "Bearer word"}) as http:
        train(http, "odd", HOSTILE, 5, 0.1, 2.0, project="odd", name=HOSTILE, tags=["stress"])
        wait_until_judged(http)
    status, told, _ = say("odd")
    assert status == 3 and "[red]hc[/red] �2J" in told and "\x9b" not in told
