"""What came of the requests: how many, how they were answered, and what should not have been."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import requests
from tests.fuzz.target import ROOT_TOKEN, Target

# Of the code and the machine; no answer has any business to tell them
_SECRETS: Final = ("Traceback (most", "site-packages", "sqlalchemy", "psycopg", "sqlite3", '.py"', ROOT_TOKEN)
# From the layer below, which refuses what is no HTTP before it is a request
_UNREADABLE: Final = "Invalid HTTP request received."
MAX_GROWTH: Final = 1.25
SPARE_BYTES: Final = 64 * 2**20


@dataclass(frozen=True)
class Finding:
    """One kind of wrong answer, with the first request that got it."""

    kind: str
    door: str
    status: int
    request: str
    answer: str


@dataclass
class Report:
    """Counts of answers, findings by kind, and the collector's memory as the requests went by."""

    target: Target
    num_cases: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    findings: dict[tuple[str, str, int], Finding] = field(default_factory=dict)
    memory_bytes: list[int] = field(default_factory=list)

    def take(self, door: str, request: str, answer: requests.Response, body: bytes) -> None:
        """Checks one answer: its status, its shape, and that it tells nothing of the inside."""
        self.num_cases += 1
        self.answers[f"{door} {answer.status_code}"] += 1
        text = body.decode("utf-8", "replace")
        if wrong := _what_is_wrong(answer, text, str(self.target.folder)):
            self.add(wrong, door, answer.status_code, request, text)
        if self.num_cases % 100 == 0:
            self.memory_bytes.append(self.target.memory_bytes)

    def add(self, kind: str, door: str, status: int, request: str, answer: str) -> None:
        """Notes a finding; the first of its kind is kept."""
        finding = Finding(kind, door, status, request[:2000], answer[:500])
        self.findings.setdefault((kind, door, status), finding)

    def finish(self) -> None:
        """Looks at the process: alive, its log without faults, its memory bounded."""
        if not self.target.is_alive:
            self.add("the process ended", "", self.target.process.returncode or 0, "", "")
        for line in self.target.faults():
            self.add(f"the log: {line}", "", 0, "", "")
        if (grown := self.growth) is not None and grown > MAX_GROWTH:
            self.add(f"memory grew {grown:.2f} times from the second quarter to the last", "", 0, "", "")

    @property
    def growth(self) -> float | None:
        """Most memory in the last quarter over that in the second and a fixed allowance; None if too few."""
        quarter = len(self.memory_bytes) // 4
        if quarter < 10:
            return None
        second, last = self.memory_bytes[quarter : 2 * quarter], self.memory_bytes[-quarter:]
        return max(last) / (max(second) + SPARE_BYTES)

    def as_dict(self) -> dict[str, Any]:
        """Everything, for programs."""
        statuses: Counter[str] = Counter()
        for told, count in self.answers.items():
            statuses[told.rpartition(" ")[2]] += count
        picked = self.memory_bytes[:: max(1, len(self.memory_bytes) // 20)]
        return {
            "cases": self.num_cases,
            "statuses": dict(sorted(statuses.items())),
            "answers": dict(sorted(self.answers.items())),
            "memory_mib": [round(size / 2**20) for size in picked],
            "memory_growth": self.growth,
            "findings": [asdict(finding) for finding in self.findings.values()],
        }


def _what_is_wrong(answer: requests.Response, text: str, folder: str) -> str | None:
    if answer.status_code >= 500:
        return "a fault of the collector"
    if leaked := next((word for word in (*_SECRETS, folder) if word in text), None):
        return f"the answer tells {leaked!r}"
    media = answer.headers.get("content-type", "").partition(";")[0]
    if answer.status_code >= 400 and media == "application/problem+json":
        told = json.loads(text)
        complete = told["title"] and told["detail"] and told["status"] == answer.status_code
        return None if complete else "a problem without title or detail"
    if text == _UNREADABLE:
        return None
    if answer.status_code >= 400 and "/api/" in answer.url:
        return "an error that is no problem document"
    if media == "application/json" and not _is_strict_json(text):
        return "an answer that is no JSON"
    return None


def _is_strict_json(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True
