"""A real Prometheus and a real Alertmanager on the very files that compose mounts.

Only addresses, the token's path and intervals differ: scrapes and evaluations come every half second, and
alerts and their groups do not wait.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.conftest import require
from tests.end_to_end.conftest import free_port

FILES = Path(__file__).parents[2] / "dashboards/foreshock/dashboards/prometheus"
INTERVAL = "500ms"


class Server:
    """A process that answers /-/ready; closing it ends it, whatever state it is in."""

    def __init__(self, name: str, folder: Path, *arguments: str) -> None:
        program = shutil.which(name)
        require(program is not None, name)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(program), *arguments, f"--web.listen-address=127.0.0.1:{self.port}"],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        try:
            wait_for(self._is_ready, f"{name} is not ready")
        except BaseException:
            self.close()
            raise

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-2000:]
        try:
            return httpx.get(f"{self.url}/-/ready").is_success
        except httpx.HTTPError:
            return False

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer."""
        answer = httpx.get(f"{self.url}{path}", params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def close(self) -> None:
        """SIGTERM, and SIGKILL to what does not listen."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)


class Prometheus(Server):
    """Scrapes one collector and tells one Alertmanager."""

    def __init__(self, folder: Path, collector: str, alertmanager: str, token: Path) -> None:
        text = (FILES / "prometheus.yml").read_text()
        text = substituted(text, r"(scrape|evaluation)_interval: \S+", rf"\1_interval: {INTERVAL}")
        text = substituted(text, r"collector:8787", collector.removeprefix("http://"))
        text = substituted(text, r"alertmanager:9093", alertmanager.removeprefix("http://"))
        text = substituted(text, r"/run/secrets/foreshock_token", str(token))
        (folder / "prometheus.yml").write_text(text)
        for path in (FILES / "rules").iterdir():
            (folder / "rules").mkdir(exist_ok=True)
            rules = substituted(path.read_text(), r"for: \d+m\b", "for: 0s")
            (folder / "rules" / path.name).write_text(rules)
        super().__init__(
            "prometheus", folder, "--config.file=prometheus.yml", f"--storage.tsdb.path={folder / 'tsdb'}"
        )

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=expr)["data"]["result"]
        return found

    def target(self) -> dict[str, Any]:
        """How the last scrape of the collector went; nothing before the target is known."""
        found = self.get("/api/v1/targets")["data"]["activeTargets"]
        return dict(found[0]) if found else {}

    def rules(self) -> list[dict[str, Any]]:
        """Every rule with its health."""
        groups = self.get("/api/v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]


class Alertmanager(Server):
    """Takes alerts; its receiver is nobody."""

    def __init__(self, folder: Path) -> None:
        text = (FILES / "alertmanager.yml").read_text()
        text = substituted(text, r"group_wait: \S+", "group_wait: 0s")
        (folder / "alertmanager.yml").write_text(text)
        super().__init__(
            "prometheus-alertmanager",
            folder,
            "--config.file=alertmanager.yml",
            f"--storage.path={folder / 'alerts'}",
            "--cluster.listen-address=",
        )

    def alerts(self, name: str) -> list[dict[str, Any]]:
        """The alerts of one name that it knows of."""
        return [one for one in self.get("/api/v2/alerts") if one["labels"]["alertname"] == name]


def substituted(text: str, pattern: str, by: str) -> str:
    """The text with every match replaced; there must be one, or the file is no longer what is meant."""
    made, count = re.subn(pattern, by, text)
    assert count, pattern
    return made


def wait_for(holds: Callable[[], Any], otherwise: str, seconds: float = 60) -> Any:
    """What the condition gives once it holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError(otherwise)


def expressions(rules_file: str) -> dict[str, str]:
    """By rule, its expression."""
    document = yaml.safe_load((FILES / "rules" / rules_file).read_text())
    return {
        rule.get("alert") or rule["record"]: rule["expr"]
        for group in document["groups"]
        for rule in group["rules"]
    }
