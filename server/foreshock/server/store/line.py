"""The line of submissions before the one writer: bounded, and fair between a flood and a trickle.

Every run has its own line, and a group takes from them in turn, so that a run that sends one small body
now and then waits for one commit and not for all that another run has sent before it.
"""

import threading
import time
from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final

from foreshock.server.errors import BusyError
from foreshock.server.store.entries import Submission

MAX_GROUP_BODIES: Final = 128
MAX_GROUP_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an append did: where the log stands now, and how much of the body was there already.

    `last_alert` is the number of the run's newest alert transition.
    """

    next_sequence: int
    num_duplicates: int
    last_alert: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A submission, and the receipt that its sender waits for."""

    submission: Submission
    receipt: Future[Receipt]


class Line:
    """Submissions by run; at most `max_bodies` in all, of one run at most half of them."""

    def __init__(self, max_bodies: int) -> None:
        self._max_bodies = max_bodies
        self._runs: OrderedDict[str, deque[Waiting]] = OrderedDict()
        self._size = 0
        self._is_open = True
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return self._size

    def put(self, waiting: Waiting) -> None:
        """Raises BusyError where too many wait."""
        run_id = waiting.submission.run_id
        with self._changed:
            of_run = self._runs.get(run_id)
            num_of_run = len(of_run) if of_run else 0
            if self._size >= self._max_bodies or num_of_run >= max(1, self._max_bodies // 2):
                raise BusyError(
                    f"{self._size} appends wait for the disk, {num_of_run} of them of this run: send this "
                    "one again in a second",
                    headers={"Retry-After": "1"},
                )
            self._runs.setdefault(run_id, deque()).append(waiting)
            self._size += 1
            self._changed.notify()

    def close(self) -> None:
        """Lets `take` give out what waits, and then nothing more."""
        with self._changed:
            self._is_open = False
            self._changed.notify()

    def take(self, expected: int, most_seconds: float) -> list[Waiting] | None:
        """A group for one commit; waits for a first submission. None at the end.

        Writers that shared the last commit send again when it is done, and not all at once: up to
        `expected` bodies are waited for, `most_seconds` at most.
        """
        group: list[Waiting] = []
        num_bytes = 0
        with self._changed:
            self._changed.wait_for(lambda: self._size or not self._is_open)
            until = time.monotonic() + most_seconds
            while len(group) < MAX_GROUP_BODIES and num_bytes < MAX_GROUP_BYTES:
                if self._size == 0:
                    pause = until - time.monotonic()
                    if len(group) >= expected or pause <= 0 or not self._changed.wait(pause):
                        break
                    continue
                group.append(self._pop())
                num_bytes += group[-1].submission.num_bytes
        return group or None

    def _pop(self) -> Waiting:
        run_id, of_run = self._runs.popitem(last=False)
        waiting = of_run.popleft()
        if of_run:
            self._runs[run_id] = of_run  # at the end: the others come first
        self._size -= 1
        return waiting
