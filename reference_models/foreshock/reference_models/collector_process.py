"""The collector as a child process: started on a free loopback port, stopped when the demo ends."""

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from foreshock.reference_models.errors import DemoError
from foreshock.reference_models.observatory import Observatory

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0


class CollectorProcess:
    """`foreshock serve` with its database and its log in `directory`. Raises DemoError if it cannot start."""

    def __init__(self, directory: Path, port: int) -> None:
        self._log = directory / "collector.log"
        command = [sys.executable, "-m", "foreshock.cli", "serve", "--host", "127.0.0.1", "--json"]
        command += ["--port", str(port), "--db", str(directory / "foreshock.db")]
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C reaches the demo alone, which then stops its children in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"FORESHOCK_TOKEN": ""},
                start_new_session=True,
            )
        try:
            self.url = self._announced_url()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Asks the process to end, and ends it if it does not."""
        stop_process(self._process)

    def _announced_url(self) -> str:
        """The address from the line that the collector prints once it listens."""
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            line = self._process.stdout.readline() if selector.select(START_SECONDS) else b""
        if not line:
            raise DemoError(self._why_not())
        url: str = json.loads(line)["url"]
        return url

    def _wait_until_ready(self) -> None:
        give_up = time.monotonic() + START_SECONDS
        with Observatory(self.url, "") as observatory:
            while not observatory.is_ready():
                if not self.is_running or time.monotonic() > give_up:
                    raise DemoError(self._why_not())
                time.sleep(0.1)

    def _why_not(self) -> str:
        said = self._log.read_text(errors="replace").strip().splitlines()
        reason = said[-1] if said else "it said nothing"
        return f"the collector did not start: {reason} (its log: {self._log})"


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """Ends a child: a request first, force after ten seconds, or at once where the waiting is interrupted."""
    try:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # it has had its time
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()
