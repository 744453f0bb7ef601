"""The demo, shrunk: a real collector, real trainings, a summary, and no process left behind."""

import io
import json
import math
import socket
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from foreshock.reference_models import demo_plan, plain_json
from foreshock.reference_models.collector_process import CollectorProcess
from foreshock.reference_models.demo import run_demo
from foreshock.reference_models.demo_summary import DemoSummary, RunSummary
from foreshock.reference_models.demo_view import first_of_each_rule, first_sentence, live_table, summary_view
from foreshock.reference_models.errors import DemoError
from foreshock.reference_models.observatory import AlertLine


def shown(renderable: object) -> str:
    paper = io.StringIO()
    Console(width=160, file=paper).print(renderable)
    return paper.getvalue()


@pytest.mark.slow
def test_a_shrunk_demo_trains_watches_and_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("here and there " * 40)
    small = {
        "--blocks": "1",
        "--width": "32",
        "--context": "16",
        "--steps": "12",
        "--warmup": "4",
        "--data": str(tmp_path / "text.txt"),
    }
    for option, value in small.items():
        monkeypatch.setitem(demo_plan.SETTINGS, option, value)
    monkeypatch.setattr(demo_plan, "PAIRS", (("hc", 0), ("mhc", 0)))
    assert run_demo(tmp_path / "kept", port=0, leave=True, as_json=True) == 0
    printed = capsys.readouterr()
    summary = json.loads(printed.out)
    assert [(run["connection"], run["last_step"]) for run in summary["runs"]] == [("hc", 11), ("mhc", 11)]
    assert all(run["died_step"] is None and run["failure"] is None for run in summary["runs"])
    assert summary["runs"][1]["peak_gain_mean"] == pytest.approx(1.0, abs=0.05)
    assert summary["verdict"]["state"] in ("wait", "undecided")
    assert "watch it live: http://127.0.0.1:" in printed.err
    with pytest.raises(httpx.ConnectError):
        httpx.get(summary["page"])


@pytest.mark.slow
def test_a_collector_that_cannot_start_is_told_with_its_own_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DemoError, match=r"did not start: .*in use"):
            CollectorProcess(tmp_path, taken.getsockname()[1])


def summary_of_two() -> DemoSummary:
    lines = (
        AlertLine("exit_amax", "critical", "composite", 40, 2.9, 60, "Amax rises"),
        AlertLine("exit_amax", "critical", "layer 0", 44, 2.8, 56, "Amax rises again"),
        AlertLine("nonfinite", "critical", "loss", 100, None, 0, "the loss is NaN"),
    )
    hc = RunSummary("a", "hc, seed 0", "hc", 0, 100, 102, 2.4, 2000.0, math.inf, None, lines)
    mhc = RunSummary("b", "mhc, seed 0", "mhc", 0, None, 159, 2.3, 1.1, 1.5, None, ())
    verdict = {"state": "undecided", "reasons": ["1 seed a group"], "missing": ["more seeds"]}
    return DemoSummary("http://page", "/kept", "demo", 1.0, (hc, mhc), verdict)


def test_the_summary_shows_each_rule_once_with_its_lead() -> None:
    text = shown(summary_view(summary_of_two()))
    assert "hc, seed 0: died at step 100" in text
    assert "loss then 2.900, 60 steps before the end" in text
    assert "Amax rises again" not in text
    assert "mhc, seed 0: lived to step 159" in text
    assert "Verdict: undecided" in text
    assert "missing: more seeds" in text
    assert [line.step for line in first_of_each_rule(summary_of_two().runs[0].alerts)] == [40, 100]


def test_a_reason_is_cut_after_its_first_sentence_and_not_in_a_number() -> None:
    assert first_sentence("Amax is 11.5, over 10. Lower the rate.") == "Amax is 11.5, over 10."
    assert first_sentence("the loss is NaN") == "the loss is NaN"


def test_the_live_table_tells_waiting_runs_from_dead_ones() -> None:
    dead = {
        "state": "running",
        "last_step": 88,
        "last_alert": {"rule": "nonfinite", "severity": "critical"},
        "num_alerts": {"firing": 2},
        "summary": {"died_step": 86, "loss": "NaN", "composite_forward": "Infinity", "headroom_bits": 0.5},
    }
    text = shown(live_table({"a": "hc, seed 0", "b": "mhc, seed 0"}, {"a": dead}, {}))
    assert "died at step 86" in text
    assert "nan" in text
    assert "inf" in text
    assert "2 firing, last nonfinite" in text
    assert "waiting" in text


def test_programs_get_json_that_any_reader_takes() -> None:
    assert json.loads(plain_json.dump(summary_of_two().as_dict()))["runs"][0]["peak_gain_max"] == "Infinity"
    assert (
        plain_json.dump({"a": [math.nan, -math.inf, 1.5, None]}) == '{"a": ["NaN", "-Infinity", 1.5, null]}'
    )
