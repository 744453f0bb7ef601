"""The background thread that delivers the spool to the collector, in order, until it is told to stop.

It may wait as long as the collector is away, slow, restarting or answering nonsense: the spool is
the truth, training knows nothing of it.
"""

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from foreshock.probe.faults import Faults
from foreshock.probe.spool import Entry, Spool
from foreshock.wire import (
    CLOCK_HEADER,
    CONTENT_TYPE,
    WIRE_VERSION,
    Alert,
    AppendAnswer,
    Body,
    Problem,
    RunDeclaration,
    RunHandle,
    Tombstone,
    encode_body,
    encode_record,
)

_MAX_REQUEST_BYTES: Final = 4 * 2**20
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 30.0
_REFUSED_PAUSE_SECONDS: Final = 60.0


class DeliveryError(Exception):
    """Raised within the sender when a try failed; `pause` is how long the next one must wait, if told."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        super().__init__(message)
        self.pause = pause


class RefusedError(DeliveryError):
    """Raised when the collector understood and will not: the same try will fail again."""


class GoneError(DeliveryError):
    """Raised within the sender when the run was deleted at the collector: nothing of it is taken any more."""


@dataclass(slots=True)
class Consignment:
    """One attempt's spool and what the collector knows of it."""

    spool: Spool
    attempt: int
    registered: bool = False


class Collector:
    """The HTTP side: one request, one understood answer, or a DeliveryError or a Problem."""

    def __init__(self, url: str, token: str | None, *, timeout_seconds: float = 10.0) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(
            base_url=url, headers=headers, timeout=timeout_seconds, trust_env=False, follow_redirects=False
        )
        self._url = url

    def register(self, declaration: RunDeclaration) -> RunHandle | Problem:
        """POST /api/v1/runs."""
        answer: RunHandle | Problem = self._post(
            "/api/v1/runs", msgspec.json.encode(declaration), "application/json", RunHandle
        )
        return answer

    def append(self, body: Body) -> AppendAnswer | Problem:
        """POST /api/v1/runs/{run_id}/append."""
        path = f"/api/v1/runs/{body.run_id}/append"
        answer: AppendAnswer | Problem = self._post(path, encode_body(body), CONTENT_TYPE, AppendAnswer)
        return answer

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def _post(self, path: str, content: bytes, content_type: str, kind: type[Any]) -> Any:
        try:
            headers = {"Content-Type": content_type, CLOCK_HEADER: f"{time.time():.3f}"}
            answer = self._client.post(path, content=content, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise DeliveryError(f"the collector at {self._url} cannot be reached: {error}") from error
        if answer.status_code in (429, 503):
            raise DeliveryError("the collector is busy", _retry_after(answer))
        if answer.status_code >= 500:
            raise DeliveryError(f"the collector answered {answer.status_code}")
        try:
            return msgspec.json.decode(answer.content, type=kind if answer.status_code == 200 else Problem)
        except msgspec.DecodeError as error:
            raise DeliveryError(
                f"{self._url} answered {answer.status_code} with something that is no collector's answer"
            ) from error


def _retry_after(answer: httpx.Response) -> float:
    try:
        return min(max(float(answer.headers.get("Retry-After", "1")), 0.1), _LONGEST_PAUSE_SECONDS)
    except ValueError:
        return 1.0


class Sender:
    """Delivers consignments in their order; the last one stays open while training goes on."""

    def __init__(
        self,
        collector: Collector,
        declaration: RunDeclaration,
        faults: Faults,
        *,
        heartbeat_seconds: float,
        on_alert: Callable[[Alert], None],
        on_attempt: Callable[[Spool, int], int],
    ) -> None:
        self._collector, self._declaration, self._faults = collector, declaration, faults
        self._heartbeat_seconds = heartbeat_seconds
        self._on_alert, self._on_attempt = on_alert, on_attempt
        self._consignments: list[Consignment] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._stop_at: float | None = None
        self.refusal: str | None = None
        self._is_gone = False
        self._last_alert = 0
        self._last_contact = 0.0
        self._pause = _FIRST_PAUSE_SECONDS
        self._thread = threading.Thread(target=self._run, name="foreshock-sender", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def add(self, spool: Spool, attempt: int) -> None:
        """Adds the spool of an attempt, to be delivered after those before it."""
        with self._lock:
            self._consignments.append(Consignment(spool, attempt))
        self._wake.set()

    def declare(self, declaration: RunDeclaration) -> None:
        """Takes a fuller declaration, to be sent before anything else."""
        with self._lock:
            self._declaration = declaration
            for consignment in self._consignments:
                consignment.registered = False

    def wake(self) -> None:
        """Says that the spool has something new."""
        self._wake.set()

    def stop(self, timeout: float) -> bool:
        """Gives the rest `timeout` seconds to arrive; returns whether nothing is left that could."""
        self._stop_at = time.monotonic() + timeout
        self._ending.set()
        self._wake.set()
        self._thread.join(timeout + 1.0)
        return self.is_drained or self._is_gone

    def deliver_all(self, consignment: Consignment) -> None:
        """Delivers one spool in the calling thread; raises DeliveryError where a running probe would wait."""
        while not consignment.spool.is_drained:
            self._deliver_from(consignment)

    @property
    def is_drained(self) -> bool:
        """Whether the collector has acknowledged everything."""
        with self._lock:
            return all(consignment.spool.is_drained for consignment in self._consignments)

    def _run(self) -> None:
        while not self._is_over():
            try:
                pause, waker = self._deliver(), self._wake
                self._pause = _FIRST_PAUSE_SECONDS
                self.refusal = None
            except GoneError as error:
                self._is_gone = True
                self._faults.tell("run deleted", f"{error}: nothing more of this run is sent")
                pause = 0.0
            except Exception as error:
                self._faults.count("delivery", error)
                self.refusal = str(error) if isinstance(error, RefusedError) else None
                told = error.pause if isinstance(error, DeliveryError) else None
                # In trouble only the end of training cuts the wait short, new data does not
                pause, waker = told if told is not None else self._back_off(), self._ending
            if pause > 0:
                waker.wait(min(pause, 0.2) if self._ending.is_set() else pause)
                self._wake.clear()
        with contextlib.suppress(Exception):
            self._collector.close()

    def _is_over(self) -> bool:
        if self._is_gone:
            return True
        if self._stop_at is None:
            return False
        # What was refused will not be taken within the few seconds that are left
        return self.is_drained or self.refusal is not None or time.monotonic() >= self._stop_at

    def _back_off(self) -> float:
        pause = self._pause * random.uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
        return pause

    def _deliver(self) -> float:
        """One round; returns how long the next may wait: 0 while there is more to send."""
        with self._lock:
            waiting = [c for c in self._consignments if not c.spool.is_drained]
            current = waiting[0] if waiting else (self._consignments[-1] if self._consignments else None)
        if current is None:
            return self._heartbeat_seconds
        return self._deliver_from(current)

    def _deliver_from(self, current: Consignment) -> float:
        if not current.registered:
            self._register(current)
        entries = current.spool.read(current.spool.acknowledged, _MAX_REQUEST_BYTES)
        is_due = time.monotonic() - self._last_contact >= self._heartbeat_seconds
        if entries or is_due:
            self._send(current, entries)
        return 0.0 if entries else self._heartbeat_seconds / 5

    def _register(self, current: Consignment) -> None:
        declaration = msgspec.structs.replace(
            self._declaration, attempt=current.attempt, session=current.spool.session
        )
        answer = self._collector.register(declaration)
        if isinstance(answer, Problem):
            if answer.next_attempt is None:
                raise _refusal(answer)
            current.attempt = self._on_attempt(current.spool, answer.next_attempt)
            return self._register(current)
        current.registered = True
        if answer.next_sequence <= current.spool.next_sequence:
            current.spool.acknowledge(answer.next_sequence)
        self._last_contact = time.monotonic()
        return None

    def _send(self, current: Consignment, entries: list[Entry]) -> None:
        answer = self._collector.append(self._body(current, entries))
        if isinstance(answer, Problem):
            self._recover(current, answer, entries)
            return
        self._last_contact = time.monotonic()
        if entries:
            current.spool.acknowledge(min(answer.next_sequence, entries[-1].last_sequence + 1))
        for alert in answer.alerts:
            if alert.number > self._last_alert:
                self._last_alert = alert.number
                self._on_alert(alert)

    def _body(self, current: Consignment, entries: list[Entry]) -> Body:
        return Body(
            version=WIRE_VERSION,
            run_id=self._declaration.run_id,
            rank=self._declaration.rank,
            attempt=current.attempt,
            session=current.spool.session,
            last_alert=self._last_alert,
            records=[entry.data for entry in entries],
        )

    def _recover(self, current: Consignment, problem: Problem, entries: list[Entry]) -> None:
        """Does what a problem body asks for; raises the refusal where nothing can be done now."""
        if problem.next_attempt is not None:
            current.attempt = self._on_attempt(current.spool, problem.next_attempt)
            current.registered = False
        elif problem.type.endswith("/unknown-run"):
            current.registered = False
        elif problem.expected_sequence is not None and entries:
            self._close_gap(current, problem.expected_sequence, entries)
        elif problem.status in (413, 422) or problem.type.endswith("/malformed"):
            self._give_up_one(current, problem, entries)
        else:
            raise _refusal(problem)

    def _close_gap(self, current: Consignment, expected: int, entries: list[Entry]) -> None:
        first = entries[0].sequence
        if expected > first:
            current.spool.acknowledge(min(expected, current.spool.next_sequence))
            return
        gone = current.spool.reissue(expected, first)
        self._faults.tell(
            "records lost",
            f"the collector lacks records {expected} to {first - 1} of attempt {current.attempt}, which "
            "are gone from the spool: it is told so",
        )
        answer = self._collector.append(self._body(current, gone))
        if isinstance(answer, Problem):
            raise _refusal(answer)

    def _give_up_one(self, current: Consignment, problem: Problem, entries: list[Entry]) -> None:
        """A record that the collector will never take must not hold up all that come after it."""
        for entry in entries:
            answer = self._collector.append(self._body(current, [entry]))
            if isinstance(answer, Problem):
                self._faults.tell(
                    "records refused",
                    f"the collector refuses record {entry.sequence} for good: {problem.detail}",
                )
                marker = Tombstone(entry.sequence, entry.last_sequence, 0, f"refused: {problem.title}"[:200])
                stand_in = Entry(entry.sequence, entry.last_sequence, encode_record(marker))
                answer = self._collector.append(self._body(current, [stand_in]))
                if isinstance(answer, Problem):
                    raise _refusal(answer)
            current.spool.acknowledge(answer.next_sequence)


def _refusal(problem: Problem) -> DeliveryError:
    if problem.type.endswith("/run-deleted"):
        return GoneError(problem.detail)
    return RefusedError(
        f"the collector refuses: {problem.title} ({problem.status}) {problem.detail}", _REFUSED_PAUSE_SECONDS
    )
