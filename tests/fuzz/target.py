"""The collector under fire: a real process on a database of its own, with something in it to be read."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import psutil
import requests
from tests.server.conftest import Writer

ROOT_TOKEN: Final = "the-root-token-of-the-fuzzed-collector"
SEEDED_RUN: Final = "hc-seed-0"
# What the log must not say of a collector that only met bad requests
_FAULTS: Final = re.compile(
    r"Traceback \(most|unexpected error|Exception in ASGI|judging .* failed|database refused"
    r"|^[\w.]+(Error|Exception)\b"
)


class Session(requests.Session):
    """A client of one collector: paths are under its address, redirects are answers."""

    def __init__(self, url: str, token: str = ROOT_TOKEN) -> None:
        super().__init__()
        self.url = url
        self.trust_env = False
        self.headers["Authorization"] = f"Bearer {token}"

    def request(self, method: str, url: str, **said: Any) -> requests.Response:  # type: ignore[override]
        """One request; `content` as the other clients call it."""
        if "content" in said:
            said["data"] = said.pop("content")
        address = url if url.startswith("http") else self.url + url
        return super().request(method, address, **{"timeout": 120, "allow_redirects": False, **said})


class Target:
    """`foreshock serve` in a folder; its log goes to a file there."""

    def __init__(self, folder: Path, db: str | None = None) -> None:
        self.folder = folder
        self._log = folder / "log"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FORESHOCK_")}
        environment = {**kept, "FORESHOCK_TOKEN": ROOT_TOKEN, "FORESHOCK_CACHE_BYTES": str(32 * 2**20)}
        command = "import typer; from foreshock.server.commands import serve; typer.run(serve)"
        arguments = ("--json", "--port", "0", "--db", db or str(folder / "fuzz.db"))
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", command, *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self._log.read_text()
        self.url: str = json.loads(line)["url"]
        self._memory = psutil.Process(self.process.pid)

    def __enter__(self) -> Self:
        self._seed()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=60)

    @property
    def memory_bytes(self) -> int:
        """Resident memory now; 0 once the process is gone."""
        return int(self._memory.memory_info().rss) if self.is_alive else 0

    @property
    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def faults(self) -> list[str]:
        """Lines of the log that tell of a fault, each once."""
        lines = self._log.read_text(errors="replace").splitlines()
        return list(dict.fromkeys(line[:300] for line in lines if _FAULTS.search(line)))

    def _seed(self) -> None:
        """A run with layers, a spike and a NaN, so that what reads has something to read."""
        with Session(self.url) as http:
            writer = Writer(http, SEEDED_RUN)  # type: ignore[arg-type]
            names = ("loss", "grad_norm", *(f"layer_amax_forward_max[{layer}]" for layer in range(4)))
            writer.start(*names, project="demo", config={"connection": "hc"}, tags=["a"])
            values = np.random.default_rng(0).lognormal(size=(200, len(names)))
            values[150:, 0] = np.nan
            assert writer.send(writer.batch(range(200), values)).status_code == 200
