"""`foreshock rules`: files checked, listed, and tried on a recorded run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from foreshock.server.detection.user_rules import book as book_module

EXAMPLE = Path(book_module.__file__).parent / "example.yaml"
RULES = """\
own_series: {mine: scalar, other: scalar}
shipped: {nonfinite: off}
rules:
  - {name: high, signal: mine, when: {above: 10}, for: 5 steps, clear: {for: 2 steps}}
  - {name: never, signal: mine, when: {above: 1e9}}
  - {name: blind, signal: other, when: {above: 1}}
"""


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from foreshock.server.rules_commands import rules; rules()", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "COLUMNS": "200"},
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return str(path)


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "trace.csv"
    rows = [f"{step},2.5,{12 if 20 <= step < 40 else 1}" for step in range(60)]
    path.write_text("\n".join(["step,loss,theirs", *rows]) + "\n")
    return str(path)


def test_a_valid_file_is_said_to_be_one(file: str) -> None:
    told = command("check", file)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == f"{file} is valid: 3 own rules, 1 shipped switched off\n"
    assert json.loads(command("check", file, "--json").stdout) == {"valid": True, "problems": []}


def test_every_problem_is_a_line_and_status_1(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("wrong: 1\nrules: [{name: a, signal: los, when: {above: 1}}]\n")
    told = command("check", str(path))
    assert told.returncode == 1
    assert [line.split(": ")[0] for line in told.stdout.splitlines()] == [f"{path}:1:1", f"{path}:2:27"]
    problems = json.loads(command("check", str(path), "--json").stdout)["problems"]
    assert [(one["line"], one["column"]) for one in problems] == [(1, 1), (2, 27)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "/no/such/file"], "cannot be read"),
        (["list", "/no/such/file"], "cannot be read"),
        (["test", "/no/such/file", "--on", "x.csv"], "cannot be read"),
        (["test", str(EXAMPLE), "--on", "/no/such/trace.csv"], "/no/such/trace.csv"),
        (["status", "--url", "http://127.0.0.1:1"], "no collector answers"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: list[str], words: str) -> None:
    told = command(*arguments)
    assert (told.returncode, told.stdout) == (2, "")
    assert words in told.stderr and told.stderr.count("\n") == 1


def test_rules_are_listed_with_their_settings(file: str) -> None:
    shipped = json.loads(command("list", "--json").stdout)
    assert shipped["own"] == [] and all(one["enabled"] for one in shipped["shipped"])
    exit_amax = next(one for one in shipped["shipped"] if one["name"] == "exit_amax")
    assert exit_amax["settings"]["threshold"] == 10 and exit_amax["settings"]["patience"]["share"] == 0.05
    told = json.loads(command("list", file, "--json").stdout)
    assert [one["name"] for one in told["shipped"] if not one["enabled"]] == ["nonfinite"]
    assert told["own"][0]["when"] == {"above": 10} and told["own"][0]["for"] == "5 steps"
    shown = command("list", file).stdout
    assert "switched off" in shown and "above 10" in shown


def test_a_trace_without_a_telling_name_needs_its_form(file: str, trace: str, tmp_path: Path) -> None:
    nameless = tmp_path / "nameless"
    nameless.write_bytes(Path(trace).read_bytes())
    assert "say --from csv" in command("test", file, "--on", str(nameless)).stderr
    asked = ("--map", "theirs=mine", "--json")
    told = command("test", file, "--on", str(nameless), "--from", "csv", *asked)
    assert json.loads(told.stdout) == json.loads(command("test", file, "--on", trace, *asked).stdout)


def test_a_file_is_tried_on_a_trace(file: str, trace: str) -> None:
    told = command("test", file, "--on", trace, "--map", "theirs=mine", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    mine = [one for one in found["transitions"] if one["rule"] == "high"]
    assert [(one["state"], one["step"]) for one in mine] == [
        ("pending", 20),
        ("firing", 25),
        ("resolved", 42),
    ]
    assert mine[0]["signal"] == "mine" and mine[0]["reason"] == "mine is 12, above 10."
    counts = {one["rule"]: one for one in found["rules"]}
    assert counts["high"]["first_firing_step"] == 25 and counts["never"]["firing"] == 0
    assert "nonfinite" not in counts
    assert found["missing"] == {"blind": ["other"]}


def test_what_was_tried_is_told_in_words(file: str, trace: str) -> None:
    told = command("test", file, "--on", trace, "--map", "theirs=mine")
    assert "high: fired once, first at step 25" in told.stdout
    assert "never: never pending, never fired" in told.stdout
    assert "has no other: blind saw nothing" in told.stderr


def test_the_example_is_tried(trace: str) -> None:
    assert command("test", str(EXAMPLE), "--on", trace, "--total-steps", "60").returncode == 0
