"""`foreshock serve` as a process that can be killed and started again at the same address."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

# Judged and compacted often, and nobody called lost or absent: what is judged then depends on the log alone
SETTINGS: Final = {
    "FORESHOCK_JUDGE_INTERVAL_SECONDS": "0.1",
    "FORESHOCK_COMPACT_INTERVAL_SECONDS": "0.1",
    "FORESHOCK_HEARTBEAT_GRACE_SECONDS": "1e12",
    "FORESHOCK_RANK_GRACE_SECONDS": "1e12",
    "FORESHOCK_LEASE_SECONDS": "2",
}
START_SECONDS: Final = 60.0


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


class Collector:
    """A collector on one database, at one port; what it says goes to a file in `folder`."""

    def __init__(self, folder: Path, database: str, **environment: str) -> None:
        self.database = database
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._said = folder / f"collector-{self.port}.log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
        self._environment = {**own, **SETTINGS, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> None:
        """Starts it; returns when it is ready."""
        command = [sys.executable, "-m", "foreshock.cli", "serve", "--port", str(self.port)]
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [*command, "--db", self.database], stdout=said, stderr=said, env=self._environment
            )
        if wait:
            self.wait()

    def wait(self) -> None:
        """Returns when it is ready; raises AssertionError with its words where it has ended."""
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the collector has ended: {self._said.read_text()[-2000:]}")
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the collector is not ready after {START_SECONDS:.0f} seconds")

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM: it commits what waits, and closes the database."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None
