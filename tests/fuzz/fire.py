"""Sends what the strategies make, through every door, and takes the answers down."""

import contextlib
import json
from collections.abc import Callable
from typing import Any, Final

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from tests.fuzz.bodies import FIRST_LAYOUT, Recipe, recipes
from tests.fuzz.described import doors
from tests.fuzz.report import Report
from tests.fuzz.target import Session

from foreshock.wire import CONTENT_TYPE

APPEND: Final = "POST /api/v1/runs/{run_id}/append"
# The append door has a format of its own, and takes what comes from machines that nobody watches
APPEND_SHARE: Final = 0.4
_RUN_LASTS: Final = 100
_FAR: Final = 2**20
_TYPES: Final = st.sampled_from(
    [CONTENT_TYPE] * 6 + ["application/json", "", "multipart/form-data; boundary=x"]
)


def fire(report: Report, num_cases: int, chosen_seed: int, tell: Callable[[str, int], None]) -> None:
    """Sends `num_cases` requests, shared among the doors; `tell` hears of the door and the count."""
    with Session(report.target.url) as session:
        num_appends = round(num_cases * APPEND_SHARE)
        sender = AppendSender(report, session)
        both = st.tuples(recipes(), _TYPES, st.booleans())
        _run(both, num_appends, chosen_seed, lambda drawn: sender.send(*drawn), tell, APPEND)
        # After the appends, so that what reads meets what came of them
        described = list(doors(session))
        share = -(-(num_cases - num_appends) // len(described))
        for door, strategy in described:
            _run(
                strategy,
                share,
                chosen_seed,
                lambda said, door=door: _send(report, session, door, said),
                tell,
                door,
            )


def _run(
    strategy: st.SearchStrategy[Any],
    num_cases: int,
    chosen_seed: int,
    send: Callable[[Any], None],
    tell: Callable[[str, int], None],
    door: str,
) -> None:
    """Draws and sends; again with another seed while hypothesis thinks that it has seen all there is."""
    done = 0

    def one(drawn: Any) -> None:
        nonlocal done
        if done < num_cases:
            send(drawn)
            done += 1
            tell(door, done)

    round_number = 0
    while done < num_cases:
        before = done
        quiet = settings(
            max_examples=min(num_cases - done, 2000),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(chosen_seed * 1000 + round_number)(quiet(given(strategy)(one)))()
        round_number += 1
        if done == before:
            return


def _send(
    report: Report, session: Session, door: str, said: dict[str, Any], shown: str = ""
) -> dict[str, Any]:
    """One request and its answer, if that is an object; what this client itself cannot send is no case."""
    shown = shown or repr(said)
    try:
        answer = session.request(**{**said, "stream": True})
    except (UnicodeError, requests.exceptions.InvalidHeader, requests.exceptions.InvalidURL, ValueError):
        return {}
    except requests.exceptions.ConnectionError as error:
        if not _answers(session):
            report.add("nobody answers any more", door, 0, shown, repr(error))
        return {}
    except requests.exceptions.Timeout as error:
        report.add("no answer in time", door, 0, shown, repr(error))
        return {}
    with contextlib.closing(answer):
        is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
        body = next(answer.iter_content(64), b"") if is_stream else answer.content
    report.take(door, shown, answer, body)
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _answers(session: Session) -> bool:
    try:
        return session.get("/healthz").status_code == 200
    except requests.exceptions.RequestException:
        return False


class AppendSender:
    """Declares runs, and appends recipes to them where the collector stands at that moment."""

    def __init__(self, report: Report, session: Session) -> None:
        self._report = report
        self._session = session
        self._num_sent = 0
        self._next_sequence = 0
        self._address: dict[str, Any] = {}

    def send(self, recipe: Recipe, content_type: str, is_chunked: bool) -> None:
        """One body; every hundredth starts a run of its own, as does one after a jump in the numbers."""
        if self._num_sent % _RUN_LASTS == 0 or self._next_sequence > _FAR:
            self._declare()
        self._num_sent += 1
        body = recipe.build(self._address, self._next_sequence)
        self._append(body, content_type, is_chunked=is_chunked and len(body) > 100)

    def _declare(self) -> None:
        run_id = f"fuzz-{self._num_sent}"
        self._address = {"run_id": run_id, "rank": 0, "attempt": 0, "session": "fuzz"}
        said = {"run_id": run_id, "project": "fuzz", "name": "fuzz", "session": "fuzz"}
        assert self._session.post("/api/v1/runs", json=said).status_code == 200
        self._append(FIRST_LAYOUT.build(self._address, 0), CONTENT_TYPE, is_chunked=False)

    def _append(self, body: bytes, content_type: str, *, is_chunked: bool) -> None:
        said = {
            "method": "POST",
            "url": f"/api/v1/runs/{self._address['run_id']}/append",
            "headers": {"Content-Type": content_type},
            "content": iter([body[:100], body[100:]]) if is_chunked else body,
        }
        told = _send(self._report, self._session, APPEND, said, shown=f"{content_type!r} {body[:1000]!r}")
        self._next_sequence = told.get("next_sequence", told.get("expected_sequence", self._next_sequence))
