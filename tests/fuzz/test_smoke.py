"""Some hundred requests of `make fuzz` in the suite; and that it would tell of a fault."""

from pathlib import Path
from typing import Any

import pytest
import requests
import zstandard
from tests.fuzz.bodies import bomb, many_columns
from tests.fuzz.fire import APPEND, fire
from tests.fuzz.report import Report
from tests.fuzz.target import ROOT_TOKEN, Target

from foreshock.wire import MalformedError, TooLargeError, decode_record


def test_some_hundred_requests_find_nothing(tmp_path: Path) -> None:
    with Target(tmp_path) as target:
        report = Report(target)
        fire(report, 600, 20, lambda door, count: None)
        report.finish()
    assert report.num_cases >= 600
    assert list(report.findings.values()) == []
    # It got beyond the first checks
    doors = {told.rpartition(" ")[0] for told, _ in report.answers.items()}
    assert len(doors) >= 20 and report.answers[f"{APPEND} 200"] >= 20


def answer_of(status: int, media: str, url: str = "http://x/api/v1/runs") -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer.url = status, url
    answer.headers["Content-Type"] = media
    return answer


@pytest.mark.parametrize(
    ("status", "media", "body"),
    [
        (500, "application/problem+json", '{"title": "a", "detail": "b", "status": 500}'),
        (503, "application/problem+json", '{"title": "a", "detail": "b", "status": 503}'),
        (422, "application/problem+json", '{"title": "a", "detail": "", "status": 422}'),
        (422, "application/problem+json", '{"title": "a", "detail": "b", "status": 400}'),
        (404, "text/plain", "Not Found"),
        (200, "application/json", '{"a": NaN}'),
        (200, "text/html", "Traceback (most recent call last)"),
        (200, "application/json", f'"{ROOT_TOKEN}"'),
    ],
)
def test_a_wrong_answer_is_found(tmp_path: Path, status: int, media: str, body: str) -> None:
    report = Report(_StandIn(tmp_path))  # type: ignore[arg-type]
    report.take("a door", "a request", answer_of(200, "application/json"), b"{}")
    assert not report.findings
    report.take("a door", "a request", answer_of(status, media), body.encode())
    assert len(report.findings) == 1


@pytest.mark.parametrize(("last", "is_found"), [(200, False), (400, True)])
def test_memory_that_grows_is_found(tmp_path: Path, last: int, is_found: bool) -> None:
    report = Report(_StandIn(tmp_path))  # type: ignore[arg-type]
    report.memory_bytes = [size * 2**20 for size in [150] * 10 + [190] * 20 + [last] * 10]
    report.finish()
    assert bool(report.findings) == is_found


class _StandIn:
    """As much of a target as a report asks."""

    is_alive = True
    memory_bytes = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def faults(self) -> list[str]:
        return []


def test_the_bombs_are_bombs() -> None:
    """A frame that is no frame would be refused for that, and prove nothing."""
    assert len(bomb(60 * 2**20)) < 3000
    assert zstandard.decompress(bomb(60 * 2**20)) == bytes(60 * 2**20)
    with pytest.raises(MalformedError, match="shape"):
        decode_record(bomb(60 * 2**20))
    with pytest.raises(TooLargeError):
        decode_record(bomb(2**30))
    with pytest.raises(MalformedError, match="1000000 columns"):
        decode_record(many_columns(1_000_000))
    layout: Any = decode_record(many_columns(60_000))
    assert len(layout.columns) == 60_000
