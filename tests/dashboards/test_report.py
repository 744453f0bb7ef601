"""Reports: what they hold, what they refuse, and that nothing that a run says can act in them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.dashboards.observatory import HOSTILE, Observatory, populate

from foreshock.dashboards.errors import TooManyRunsError, UnknownFigureError
from foreshock.dashboards.figures import colours
from foreshock.dashboards.report import report, write_html
from foreshock.query import ProblemError, UnreachableError
from foreshock.server.report_execution import report_command

RIGHT_TO_LEFT = "a\u202eb\u200bc" + "x" * 190


COLUMNS = ("loss", "composite_amax_forward_max")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("foreshock.server.serving")
    observatory = Observatory(tmp_path_factory.mktemp("collector"))
    try:
        populate(observatory)
        observatory.trainer("empty", "mhc", 1)
        observatory.trainer("one-point", "mhc", 1).train(1)
        observatory.trainer("only-nan", "hc", 1, dies_at=0).train(50)
        observatory.trainer("turned", "mhc", 1, name=RIGHT_TO_LEFT, tags=("</script>",)).train(20)
        yield observatory
    finally:
        observatory.close()


def written(
    run_id: str, out: Path, *, db: str | None = None, url: str | None = None, force: bool = False
) -> int:
    return report_command([run_id], out, db, url, None, force=force, as_json=True)


def test_a_file_holds_health_alerts_figures_and_configuration(collector: Observatory, tmp_path: Path) -> None:
    out = tmp_path / "hc.html"
    run = "import sys; sys.argv[0] = 'foreshock'; from foreshock.cli import main; main()"
    arguments = ("report", "hc-0", "--out", str(out), "--url", collector.url, "--json")
    done = subprocess.run(
        [sys.executable, "-c", run, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["file"] == str(out) and told["bytes"] == out.stat().st_size < 8_000_000
    assert told["runs"][0]["level"] == "risk" and "gain_map" in told["runs"][0]["figures"]
    text = out.read_text()
    for words in (
        "At risk since step",
        "Layer 0 moves most, since step",
        "What to do:",
        "exit amax",
        "precision",
    ):
        assert words in text
    # The only addresses in what we write ourselves are the collector's name and plotly's own constants
    ours = text.replace(re.search(r"<script>/\*\*?.*?</script>", text, re.S)[0], "")  # type: ignore[index]
    assert set(re.findall(r"https?://[^\s\"'<)]+", ours)) <= {collector.url}
    assert not list(tmp_path.glob("*.partial"))


def test_several_runs_are_compared(collector: Observatory) -> None:
    found = report("hc-0", "hc-1", "mhc-1", "hc-0", url=collector.url)
    assert [run.run_id for run in found.runs] == ["hc-0", "hc-1", "mhc-1"]
    names = [f"{kind}_{column}" for kind in ("seeds", "difference") for column in COLUMNS]
    assert list(found.comparison) == [*names, "timelines"]
    names = {trace.name for trace in found.figure("seeds_loss").data if trace.name}
    # Of the six runs of the project only those asked for are in it
    assert any("hc (2 seeds)" in name for name in names) and any("mhc (1 seed" in name for name in names)


def test_a_notebook_gets_words_and_plotly_figures(collector: Observatory) -> None:
    found = report("hc-0", url=collector.url)
    shown = found._repr_html_()
    assert "At risk since step" in shown and "<script" not in shown
    figure = found.figure("gain_map", theme="dark")
    assert figure.data[0].type == "heatmap" and "var(--" not in figure.to_json()
    # It stands alone: what pages say beside it is in it, on a ground that its colours are made for
    assert figure.layout.title.text == "<b>Amax gain of one layer, forward</b>"
    assert "Layer 0 is farthest" in figure.layout.title.subtitle.text
    assert figure.layout.paper_bgcolor == colours("dark")["surface"]
    many = report("turned", "hc-0", url=collector.url)
    title = many.figure("loss").layout.title.text
    assert title.endswith(" · Loss</b>") and "<img" not in title and "\u202e" not in title
    with pytest.raises(UnknownFigureError, match="it has loss, domains, gain_map"):
        found.figure("los")


@pytest.mark.parametrize("run_id", ["empty", "one-point", "only-nan", "hc-2", "turned"])
def test_hostile_and_empty_runs_make_sound_files(collector: Observatory, run_id: str) -> None:
    text = "".join(write_html(report(run_id, url=collector.url)))
    assert "<img src=x" not in text and "\u202e" not in text and "\u200b" not in text
    assert text.count("<script") == text.count("</script>") == 3
    data = text.split('<script type="application/json" id="figures">')[1].split("</script>")[0]
    assert isinstance(json.loads(data), dict) and "<" not in data
    if run_id == "empty":
        assert "No data yet" in text and "Not measured in this run: " in text


def test_what_cannot_be_is_one_line_and_status_2(
    collector: Observatory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, free = tmp_path / "r.html", tmp_path / "x.html"
    out.write_text("mine")
    for attempt, words in (
        (lambda: written("hc-0", out, url=collector.url), "is there already"),
        (lambda: written(" ", free, url=collector.url), "the id of a run is empty"),
        (lambda: written("nobody", free, url=collector.url), "there is no run 'nobody'"),
        (lambda: written("hc-0", tmp_path / "no" / "x.html", url=collector.url), "there is no folder"),
        (lambda: written("hc-0", tmp_path, url=collector.url), "is a folder"),
        (lambda: written("hc-0", free, url="http://127.0.0.1:1"), "no collector answers"),
        (lambda: written("hc-0", free, db=str(tmp_path / "none.db")), "there is no database"),
        (lambda: written("hc-0", free, db="x.db", url=collector.url), "name two places"),
    ):
        assert attempt() == 2
        told = capsys.readouterr().err
        assert words in told and told.count("\n") == 1
    assert out.read_text() == "mine" and list(tmp_path.iterdir()) == [out]


def test_a_database_is_read_beside_its_collector(collector: Observatory, tmp_path: Path) -> None:
    out = tmp_path / "db.html"
    out.write_text("an older report")
    assert written("hc-2", out, db=str(collector._database), force=True) == 0
    assert "Diverged at step 200" in out.read_text() and HOSTILE not in out.read_text()


def test_errors_in_python_are_exceptions(collector: Observatory) -> None:
    with pytest.raises(ProblemError, match="unknown-run"):
        report("nobody", url=collector.url)
    with pytest.raises(UnreachableError):
        report("hc-0", url="http://127.0.0.1:1")
    with pytest.raises(TooManyRunsError, match="0 runs"):
        report(url=collector.url)


def test_the_collector_builds_files_for_browsers(collector: Observatory) -> None:
    one = collector.http.get("/runs/hc-0/report")
    assert one.headers["content-disposition"] == 'attachment; filename="foreshock-hc-0.html"'
    assert "At risk since step" in one.text and "Plotly" in one.text
    two = collector.http.get("/compare/report", params={"run": ["hc-0", "mhc-1"]})
    assert 'filename="foreshock-2-runs.html"' in two.headers["content-disposition"]
    assert collector.http.get("/compare/report").status_code == 422
    assert collector.http.get("/compare/report", params={"run": ["hc-0", "nobody"]}).status_code == 404
    assert collector.http.get("/compare/report", params={"run": ["x"] * 21}).status_code == 422
