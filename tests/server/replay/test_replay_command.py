"""`foreshock replay` as a shell calls it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foreshock.server.detection.context import RunContext
from foreshock.server.replay.judging import replay_trace
from foreshock.server.replay.timeline import as_dict
from foreshock.server.replay.traces import open_trace

KEYS = [
    "step",
    "rule",
    "claim",
    "severity",
    "state",
    "signal",
    "layer",
    "value",
    "risk",
    "eta_steps",
    "reason",
]


@pytest.fixture
def trace(tmp_path, losses):
    path = tmp_path / "run.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{loss!r}\n" for step, loss in enumerate(losses)))
    return path


def test_a_spike_is_told_as_one_object_a_transition(replay, trace):
    told = replay(trace, "--json")
    assert (told.status, told.err) == (0, "")
    assert [list(line) for line in told.lines] == [KEYS] * 3
    assert [(line["rule"], line["state"]) for line in told.lines] == [
        ("loss_spike", "pending"),
        ("loss_spike", "firing"),
        ("loss_spike", "resolved"),
    ]
    first, firing = told.lines[0], told.lines[1]
    assert 300 <= first["step"] <= firing["step"] <= 302
    assert (firing["claim"], firing["severity"]) == ("rule", "warning")
    assert "standard deviations" in firing["reason"]


def test_people_read_a_timeline_with_its_summary(replay, trace):
    told = replay(trace)
    assert told.status == 0
    assert "400 steps judged; 1 alert fired (1 warning), the first at step 302 (loss_spike); 0 open" in (
        " ".join(told.out.split())
    )
    assert "standard deviations" in " ".join(told.out.split())


def test_what_is_told_of_a_step_depends_on_the_past_alone(replay, trace, tmp_path):
    whole = replay(trace, "--json").lines
    lines = trace.read_text().splitlines(keepends=True)
    part = tmp_path / "part.csv"
    part.write_text("".join(lines[: 1 + 306]))  # up to step 305
    assert replay(part, "--json").lines == [line for line in whole if line["step"] <= 305]
    assert replay(part, "--json").lines[-1]["state"] == "firing"  # what is open stays so


def test_the_length_and_the_configuration_are_what_rules_go_by(replay, trace, tmp_path):
    # In the first 2 % of a run there is no verdict
    assert replay(trace, "--json", "--total-steps", "100000").lines == []
    path = tmp_path / "mixing.csv"
    rows = "".join(f"{step},2.0,0.5,0.5\n" for step in range(20))
    path.write_text("step,loss,layer_row_error_max[0],layer_column_error_max[0]\n" + rows)
    assert replay(path, "--json").lines == []
    told = replay(path, "--json", "--config", "connection=mhc").lines
    assert [(line["rule"], line["state"]) for line in told] == [
        ("constraint_broken", "pending"),
        ("constraint_broken", "firing"),
    ]


def test_numbers_that_are_not_finite_are_words(replay, tmp_path):
    path = tmp_path / "dead.jsonl"
    path.write_text("".join(json.dumps({"step": step, "loss": float("nan")}) + "\n" for step in range(3)))
    (line,) = replay(path, "--json").lines
    assert (line["value"], line["severity"], line["state"]) == ("NaN", "critical", "firing")


def test_a_new_attempt_is_judged_afresh(replay, tmp_path):
    path = tmp_path / "rolled-back.csv"
    rows = [*(f"{step},2.0" for step in range(40)), "40,nan", *(f"{step},2.0" for step in range(20, 60))]
    path.write_text("step,loss\n" + "\n".join(rows) + "\n")
    told = replay(path, "--json")
    assert [(line["step"], line["state"]) for line in told.lines] == [(40, "firing"), (40, "resolved")]
    assert "Attempt 1 of the run has begun" in told.lines[1]["reason"]
    assert "steps go back: 1 times, first to step 20" in told.err


def test_the_command_and_the_function_say_the_same(replay, trace):
    found = [as_dict(one) for one in replay_trace(open_trace(trace), RunContext())]
    assert found == replay(trace, "--json").lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.csv"], "there is no such file"),
        (["{trace}", "--map", "loss"], "--map is 'loss'; give THEIRS=OURS"),
        (["{trace}", "--config", "mhc"], "--config is 'mhc'; give KEY=VALUE"),
        (["{trace}", "--map", "loss=9"], "'9' is no series name"),
        (["{trace}", "--map", "typo=grad_norm"], "'typo', which is no column here; there are: step, loss"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_status_2(replay, trace, arguments, words):
    told = replay(*(one.format(trace=trace) for one in arguments), "--json")
    assert told.status == 2
    assert words in told.err and told.err.startswith("foreshock replay: ") and told.err.count("\n") == 1


def test_what_was_found_before_a_fault_is_told(replay, trace):
    trace.write_text(trace.read_text() + "400,broken\n")
    told = replay(trace)
    assert told.status == 2 and "line 402: 'loss' is 'broken'" in told.err
    assert replay(trace, "--json").status == 2


def test_a_name_that_says_nothing_needs_the_form(replay, trace, tmp_path):
    nameless = tmp_path / "nameless"
    nameless.write_bytes(trace.read_bytes())
    assert "say --from csv" in replay(nameless).err
    assert replay(nameless, "--from", "csv", "--json").lines == replay(trace, "--json").lines
    told = replay(nameless, "--from", "cs")
    assert told.status == 2 and "--from 'cs' is no form" in told.err


def test_a_mapping_of_no_column_is_refused_before_anything_is_told(replay, trace):
    told = replay(trace, "--json", "--map", "nope=")
    assert (told.status, told.out) == (2, "") and "'nope', which is no column here" in told.err
    told = replay(trace, "--map", "step=")
    assert (told.status, told.out) == (2, "") and "there is no column 'step'" in told.err


@pytest.mark.parametrize("step", ["1_000", "1e400", "9" * 5000, "9007199254740993.0", "0x10", "nan"])
def test_a_step_that_is_none_is_refused_in_few_words(replay, tmp_path, step):
    path = tmp_path / "run.csv"
    path.write_text(f"step,loss\n0,1\n{step},2\n")
    told = replay(path)
    assert told.status == 2 and "line 3: step is" in told.err and len(told.err) < 300


def test_losses_too_large_to_square_are_no_mishap(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step,loss\n" + "".join(f"{step},{(-1) ** step * 1e308}\n" for step in range(400)))
    run = [sys.executable, "-W", "error", "-c", "from foreshock.cli import main; main()"]
    found = subprocess.run([*run, "replay", str(path), "--json"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("how", [["--json"], []])
def test_what_cannot_be_written_is_said_in_a_line(trace, how):
    run = [sys.executable, "-c", "from foreshock.cli import main; main()", "replay", str(trace), *how]
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert found.returncode == 2
    assert found.stderr == "foreshock replay: what was found cannot be written: No space left on device\n"
