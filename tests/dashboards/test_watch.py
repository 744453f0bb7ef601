"""`foreshock watch` against a real collector: in a pseudo terminal, in a pipe, and when things go wrong."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.dashboards.observatory import HOSTILE, Observatory

from foreshock.dashboards.watch.execution import watch_command

COMMAND = "import sys; sys.argv[0] = 'foreshock'; from foreshock.cli import main; main()"
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observatory]:
    pytest.importorskip("foreshock.server.serving")
    observatory = Observatory(tmp_path_factory.mktemp("collector"))
    try:
        observatory.trainer("rising", "hc", 0).train(140)
        # U+009B begins a command to terminals of eight bits
        observatory.trainer("hostile", "mhc", 1, name="\x9b2J\u202e" + HOSTILE).train(20).end()
        observatory.wait_for_alert("rising", "exit_amax")
        yield observatory
    finally:
        observatory.close()


class Terminal:
    """The command in a pseudo terminal of some width; what it wrote is read as it comes."""

    def __init__(self, *arguments: str, width: int = 100, **said: str) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
        kept = {name: value for name, value in kept.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "watch", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm-256color", **said},
            start_new_session=True,
        )
        os.close(theirs)
        os.set_blocking(ours, False)
        self._ours, self.raw = ours, ""

    def read(self) -> str:
        """Everything written so far, without what steers the terminal."""
        try:
            while piece := os.read(self._ours, 65536):
                self.raw += piece.decode(errors="replace")
        except OSError:
            pass  # nothing more now, or the other end has closed
        return STEERING.sub("", self.raw).replace("\r", "\n")

    def wait_for(self, words: str) -> str:
        """Until the words were written; fails with all that was written instead."""
        return wait_for(self.read, words)

    def end(self) -> int:
        """Ctrl-C, and the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        """The exit status, once it has ended by itself."""
        status = self.process.wait(timeout=60)
        self.read()
        os.close(self._ours)
        return status

    def close(self) -> None:
        """Ends the command, whatever it does."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    """Opens terminals that are closed in the end."""
    opened: list[Terminal] = []

    def opening(*arguments: str, **said: Any) -> Terminal:
        opened.append(Terminal(*arguments, **said))
        return opened[-1]

    yield opening
    for one in opened:
        one.close()


def wait_for(read: Callable[[], str], words: str) -> str:
    for _ in range(600):
        if words in read():
            return read()
        time.sleep(0.1)
    raise AssertionError(f"{words!r} never came; there was {read()!r}")


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def piped(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """The command, its output going where no terminal is."""

    def run(run_id: str | None, url: str, *, project: str | None = None, as_json: bool = False) -> Done:
        once = run_id != "hostile"
        status = watch_command(run_id, project, url, None, once=once, as_json=as_json)
        told = capsys.readouterr()
        return Done(status, told.out, told.err)

    return run


@pytest.mark.parametrize("width", [60, 120])
def test_a_terminal_of_any_width_answers_the_three_questions(
    collector: Observatory, width: int, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal("rising", "--url", collector.url, width=width)
    shown = terminal.wait_for("live, http")
    assert terminal.end() == 0
    for words in (
        "! At risk since step",
        "layer 0 moves since step",
        "loss ",
        "gain ",
        "layers ",
        "exit amax step",
    ):
        assert words in shown
    assert all(len(line) <= width for line in shown.split("\n"))
    assert "\x1b[1;31m" in terminal.raw and "Traceback" not in terminal.raw


def test_without_colour(collector: Observatory, open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("rising", "--once", "--url", collector.url, NO_COLOR="1")
    terminal.wait_for("as of now")
    assert terminal.wait() == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", terminal.raw)


def test_a_pipe_gets_a_line_or_an_object(collector: Observatory, piped: Callable[..., Done]) -> None:
    line = piped("rising", collector.url)
    assert line.returncode == 0 and line.stdout.count("\n") == 1 and "\x1b" not in line.stdout
    assert line.stdout.startswith("rising step 139: ! At risk since step")
    told = json.loads(piped("rising", collector.url, as_json=True).stdout)
    assert (told["run_id"], told["level"], told["layer"]) == ("rising", "risk", 0)
    # A run that has ended needs no --once: nothing more will come
    ended = piped("hostile", collector.url)
    assert ended.returncode == 0 and "hostile step 19: ✓ Safe. Finished at step 19." in ended.stdout


def test_a_name_cannot_steer_the_terminal(
    collector: Observatory, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal("hostile", "--once", "--url", collector.url)
    terminal.wait_for("as of now")
    assert "\x9b" not in terminal.raw and "\u202e" not in terminal.raw
    assert "<img src=x" in terminal.read()


def test_changes_come_as_they_happen_and_a_collector_may_restart(
    collector: Observatory, tmp_path: Path, open_terminal: Callable[..., Terminal]
) -> None:
    trainer = collector.trainer("growing", "hc", 0).train(20)
    terminal = open_terminal("growing", "--url", collector.url)
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("w") as written, err.open("w") as complained:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "watch", "growing", "--json", "--url", collector.url],
            stdout=written,
            stderr=complained,
        )
    try:
        wait_for(out.read_text, '"level": "safe"')
        trainer.train(120)
        wait_for(out.read_text, '"level": "risk"')
        terminal.wait_for("At risk since step")
        collector.kill()
        wait_for(err.read_text, "does not answer; trying again")
        shown = terminal.wait_for("does not answer; trying again")
        # What was seen stays on the screen
        assert "At risk since step" in shown[shown.index("does not answer") - 1500 :]
        before = shown.count("live, http")
        collector.start()
        wait_for(err.read_text, "the collector answers again")
        wait_for(lambda: "back" if terminal.read().count("live, http") > before else "", "back")
        trainer.train(160).end()
        assert process.wait(timeout=60) == 0 and terminal.wait() == 0
    finally:
        process.kill()
        process.wait()
    levels = [json.loads(line)["level"] for line in out.read_text().splitlines()]
    assert levels[0] in ("safe", "unknown") and levels[-1] == "risk"
    assert json.loads(out.read_text().splitlines()[-1])["state"] == "finished"


def test_all_runs(
    collector: Observatory, piped: Callable[..., Done], open_terminal: Callable[..., Terminal]
) -> None:
    shown = piped(None, collector.url)
    assert shown.returncode == 0 and "rising step 139" in shown.stdout and "hostile" not in shown.stdout
    none = piped(None, collector.url, project="nothing here")
    assert none.returncode == 0 and none.stdout == ""
    terminal = open_terminal("--once", "--url", collector.url, width=60)
    assert "At risk since step" in terminal.wait_for("as of now")


@pytest.mark.parametrize(
    ("run_id", "url", "words"),
    [
        (" ", None, "the run's id is empty"),
        ("nobody", None, "404 unknown-run: there is no run 'nobody' here"),
        ("rising", "http://127.0.0.1:1", "no collector answers at http://127.0.0.1:1"),
        ("rising", "nonsense", "url is 'nonsense'"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(
    collector: Observatory, piped: Callable[..., Done], run_id: str, url: str | None, words: str
) -> None:
    done = piped(run_id, url or collector.url)
    assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1 and not done.stdout


def test_a_run_that_is_deleted_ends_the_watch(collector: Observatory) -> None:
    collector.trainer("doomed", "mhc", 1).train(20)
    process: Any = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "watch", "doomed", "--url", collector.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "doomed" in process.stdout.readline()
    collector.http.delete("/api/v1/runs/doomed").raise_for_status()
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2 and "run doomed is not there any more: it was deleted" in told
