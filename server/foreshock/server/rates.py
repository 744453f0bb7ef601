"""How often, and how much: what a token may still send at this moment."""

import math
import time
from collections.abc import Callable

from foreshock.server.caller import Limits
from foreshock.server.errors import RateLimitError


class Allowance:
    """Refills at `rate` a second up to `most`, or one second's worth, at least one; may be overdrawn once.

    A body is only known when it is there, so it may take the allowance below zero; whoever comes next
    waits until that is paid back.
    """

    def __init__(
        self, rate: float, clock: Callable[[], float] = time.monotonic, most: float | None = None
    ) -> None:
        self._rate = rate
        self._most = max(1.0, rate if most is None else most)
        self._clock = clock
        self._left = self._most
        self._at = clock()

    def wait_seconds(self, amount: float) -> float:
        """How long until `amount` is there; 0 where it is."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (amount - self._left) / self._rate)

    def whole(self) -> int:
        """How many whole ones are there now."""
        self.wait_seconds(0)
        return max(0, int(self._left))

    def take(self, amount: float) -> None:
        """Spends what was sent."""
        self._left -= amount


class Meter:
    """One token's rates of requests and of bytes, within this process. Used on the event loop alone."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        requests, size = limits.max_requests_per_second, limits.max_bytes_per_second
        self._requests = None if requests is None else Allowance(requests, clock)
        self._bytes = None if size is None else Allowance(size, clock)

    def admit(self) -> None:
        """Counts a request; raises RateLimitError where the token has used up what it may."""
        if self._requests is not None and (wait := self._requests.wait_seconds(1)):
            raise _too_fast(wait, f"{self.limits.max_requests_per_second:g} requests")
        if self._bytes is not None and (wait := self._bytes.wait_seconds(1)):
            raise _too_fast(wait, f"{self.limits.max_bytes_per_second:g} bytes")
        if self._requests is not None:
            self._requests.take(1)

    def count(self, num_bytes: int) -> None:
        """Counts a part of a body."""
        if self._bytes is not None:
            self._bytes.wait_seconds(0)
            self._bytes.take(num_bytes)


def _too_fast(wait: float, allowed: str) -> RateLimitError:
    seconds = max(1, math.ceil(wait))
    return RateLimitError(
        f"this token may send {allowed} a second: send again in {seconds} seconds",
        headers={"Retry-After": str(seconds)},
    )
