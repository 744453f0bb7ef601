"""Real children: trained, recorded, killed in the middle, begun anew."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from tests.reference_models.scenarios.in_process import foreshock, record_here

from foreshock.cli import build_app
from foreshock.reference_models.scenarios.record import FORMAT_VERSION, read_record
from foreshock.reference_models.scenarios.schema import load_scenario
from foreshock.reference_models.train import train

TINY = """[scenario]
name = "tiny"
family = "F1"
class = "endogenous"
why = "to see"
seeds = {seeds}

[model]
connection = "hc"
num_blocks = 1
width = 32
context = {context}

[train]
num_steps = {steps}
batch_size = 2

[data]
text = ["{text}"]
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a scenario of small runs."""
    text = tmp_path / "own.txt"
    text.write_text("to and fro " * 50)

    def write_file(seeds: tuple[int, ...] = (0,), steps: int = 6, context: int = 16) -> Path:
        path = tmp_path / "tiny.toml"
        path.write_text(TINY.format(seeds=list(seeds), steps=steps, context=context, text=text))
        return path

    return write_file


def test_what_is_missing_or_damaged_is_trained_and_the_rest_is_kept(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    file, out = write(seeds=(0, 1)), tmp_path / "out"
    kept, damaged = record_here(file, out, 0), record_here(file, out, 1)
    stamp = (kept / "manifest.json").stat().st_mtime_ns
    (damaged / "signals.parquet").write_bytes(b"damaged")
    code, told, _ = foreshock("run", file, "--out", out, "--jobs", 2, "--json")
    assert code == 0
    assert [(run["run_id"], run["state"], run["was_recorded"]) for run in json.loads(told)["runs"]] == [
        ("tiny-s0", "finished", True),
        ("tiny-s1", "finished", False),
    ]
    assert (kept / "manifest.json").stat().st_mtime_ns == stamp
    record = read_record(damaged)
    steps, losses = record.losses()
    assert steps.tolist() == list(range(6))
    np.testing.assert_array_equal(losses, train(load_scenario(file).runs[1].config).losses)
    assert record.manifest["config"]["seed"] == 1
    assert record.manifest["config"]["model"]["connection"] == "hc"
    assert record.manifest["declaration"]["run_id"] == "tiny-s1"
    assert {"loss", "canary_gain", "composite_amax_forward_max[1]"} <= set(record.table().column_names)
    assert not any((out / ".work").iterdir())


def test_a_run_that_fails_is_told_and_makes_the_command_fail(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    code, told, _ = foreshock("run", write(context=600), "--out", tmp_path / "out", "--json")
    assert code == 1
    (run,) = json.loads(told)["runs"]
    assert run["state"] == "failed"
    assert "a context of 600 needs at least 601" in run["error"] and "its log: " in run["error"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the real command; ends what a test leaves running."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "foreshock.cli", "scenarios", *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
        return started[-1]

    yield run
    for process in started:
        if process.returncode is None:
            process.kill()
            process.communicate()


def trained_steps(out: Path, run_id: str) -> int:
    try:
        return int((out / ".work" / run_id / "num_steps_trained").read_text())
    except (OSError, ValueError):
        return 0


def wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.05)


def has_ended(process: int) -> bool:
    """Whether a process is gone, or dead and waiting for its parent."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def children_of(parent: int) -> list[int]:
    """The processes whose parent is `parent`, from /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find the child")
def test_a_killed_run_fails_alone_and_a_killed_command_leaves_no_child_and_no_half_record(
    write: Callable[..., Path], start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """One story, since starting processes is what takes the time."""
    file, out = write(seeds=(0, 1), steps=100_000), tmp_path / "out"
    command = start("run", file, "--out", out)
    wait_for(lambda: trained_steps(out, "tiny-s0") > 0)
    code, _, told = foreshock("run", file, "--out", out)
    assert code == 2 and "is being worked on by another" in told

    os.kill(children_of(command.pid)[0], signal.SIGKILL)
    wait_for(lambda: trained_steps(out, "tiny-s1") > 0)
    (child,) = children_of(command.pid)
    command.kill()
    _, words = command.communicate()
    assert b"tiny-s0: failed after" in words and b"killed by signal 9; run the command again" in words
    wait_for(lambda: has_ended(child))
    assert not list(out.glob("tiny-*"))

    code, told, _ = foreshock("run", write(seeds=(1,), steps=5), "--out", out, "--json")
    assert code == 0
    assert [(run["steps"], run["was_recorded"]) for run in json.loads(told)["runs"]] == [(5, False)]
    assert read_record(out / "tiny-s1").losses()[0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc to find the child")
def test_ctrl_c_ends_the_children_and_says_how_to_go_on(
    write: Callable[..., Path], start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    command = start("run", write(steps=100_000), "--out", tmp_path / "out")
    wait_for(lambda: bool(children_of(command.pid)))
    (child,) = children_of(command.pid)
    command.send_signal(signal.SIGINT)
    _, told = command.communicate()
    assert command.returncode == 130
    assert b"interrupted; the same command trains what is missing" in told
    assert has_ended(child)


def test_a_folder_of_another_configuration_or_version_is_refused_before_training(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    record_here(write(), out)
    code, told, error = foreshock("run", write(steps=7), "--out", out)
    assert (code, told) == (2, "")
    assert "another configuration: num_steps was 6, and now is 7; give another --out" in error
    assert not (out / ".work").exists()

    path = out / "tiny-s0" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"format_version": FORMAT_VERSION + 1}))
    for seed in (0, 1):  # the run itself, and one that would only share the folder
        code, _, error = foreshock("run", write(seeds=(seed,)), "--out", out)
        assert code == 2 and f"was recorded in format version {FORMAT_VERSION + 1}" in error


def test_what_is_given_wrongly_is_told_in_one_line(write: Callable[..., Path], tmp_path: Path) -> None:
    file, out = write(), tmp_path / "out"
    for arguments, words in (
        ([file, "--jobs", "0"], "jobs is 0; give 1 or more"),
        (["nowhere.toml"], "'nowhere.toml' is no file, no folder and no shipped scenario"),
        ([file, file], "both make the run tiny-s0; give them different names"),
    ):
        code, told, error = foreshock("run", *arguments, "--out", out)
        assert (code, told) == (2, "")
        assert words in error and error.strip().count("\n") == 0
    (tmp_path / "own.txt").unlink()
    code, _, error = foreshock("run", file, "--out", out)
    assert code == 2 and "own.txt does not exist" in error
    assert not list(out.glob("*/*"))


def test_labels_are_written_beside_each_record_and_damage_is_told(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    file, out = write(seeds=(0, 1), steps=40), tmp_path / "out"
    for number in (0, 1):
        record_here(file, out, number)
    code, told, _ = foreshock("label", out, "--varied", "--json")
    report = json.loads(told)
    assert code == 0
    assert [run["run_id"] for run in report["runs"]] == ["tiny-s0", "tiny-s1"]
    first = json.loads((out / "tiny-s0" / "labels.json").read_bytes())
    assert first["labels"] == report["runs"][0]["labels"]
    assert first["labels"]["rules"]["severe_z"] == 7.0
    assert "runs of 1500 or more are scored" in first["labels"]["unscored"]
    assert 0 <= first["agreement"] <= 1
    assert report["families"]["F1 endogenous"]["runs"] == 2

    (out / "tiny-s1" / "signals.parquet").write_bytes(b"damaged")
    code, told, _ = foreshock("label", out)
    assert code == 1
    assert "vouches" in told and "tiny-s0" in told
    code, _, error = foreshock("label", tmp_path / "none")
    assert code == 2 and "holds no recorded runs; record some with" in error


def test_the_help_of_every_option_says_all_it_has_to_say() -> None:
    group = typer.main.get_command(build_app()).commands["scenarios"]  # type: ignore[attr-defined]
    assert group.commands.keys() == {"run", "label", "fork", "study", "score", "fit", "list"}
    for name, command in group.commands.items():
        for option in command.params:
            assert option.help, f"{name} {option.name} says nothing"
            assert "[" not in option.help, f"{name} {option.name} loses what stands in brackets"


def test_the_list_shows_every_shipped_file() -> None:
    report = json.loads(foreshock("list", "--json")[1])
    names = [entry["name"] for entry in report["scenarios"]]
    assert {"smoke/hc_fp16", "development/f1_hc_fp16", "development/f2_mhc"} <= set(names)
    told = foreshock("list")[1]
    assert all(entry["runs"] and entry["why"] for entry in report["scenarios"])
    assert all(name in told for name in names)


@pytest.mark.slow
def test_in_the_smoke_split_hc_dies_and_its_controls_live(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert foreshock("run", "smoke", "--out", out, "--jobs", 2, "--json")[0] == 0
    runs = {run["scenario"]: run for run in json.loads(foreshock("label", out, "--json")[1])["runs"]}
    assert all(run["as_meant"] for run in runs.values())
    (event,) = runs["smoke-hc-fp16"]["labels"]["events"]
    assert event["kind"] == "divergence" and event["recovery_step"] is None
    peaks = {
        name: np.nanmax(
            read_record(out / run["run_id"]).table(["composite_amax_forward_mean[23]"])[0].to_numpy()
        )
        for name, run in runs.items()
    }
    assert peaks["smoke-hc-fp16"] > 100 > 1.6 > peaks["smoke-mhc-fp16"]
    assert peaks["smoke-residual-fp16"] == 1
