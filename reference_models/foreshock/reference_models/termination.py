"""Ending in order: a request to terminate is Ctrl-C, and one request is enough."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_REQUESTS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Raises KeyboardInterrupt at the first SIGINT or SIGTERM inside, and does not hear any more of them.

    A request to a whole process group reaches a command twice, once more through `make`; the second would
    break off the ending of children that the first has begun, and leave them behind.
    """
    is_ending = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal is_ending
        if not is_ending:
            is_ending = True
            raise KeyboardInterrupt

    before = {request: signal.signal(request, interrupt) for request in _REQUESTS}
    try:
        yield
    finally:
        for request, handler in before.items():
            signal.signal(request, handler)
