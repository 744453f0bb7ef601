"""Drawn figures, kept as the bytes that viewers get, for all viewers and within a bound of memory.

A figure's tag is made of what it shows, not of when it was drawn: who names a tag is known to hold exactly
those bytes, so that a patch from them to newer ones can be made.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

# What was asked (run, figure, query), and how new the data were
Key = tuple[str, str, str, str]
Question = tuple[str, str, str]

MAX_BYTES: Final = 64 * 2**20
# Marks of freshness are small, but a run has a new one with every record
MAX_KEYS: Final = 8192


@dataclass(frozen=True, slots=True)
class Drawn:
    """The bytes of one figure, and their tag."""

    tag: str
    body: bytes


class FigureCache:
    """Figures by what was asked and how new it is, and by tag; what was used longest ago goes first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._tags: OrderedDict[Key, str] = OrderedDict()
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._drawing: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, draw: Callable[[], bytes]) -> Drawn:
        """The figure; where several ask for one that is not there, one draws it and the others wait."""
        if (held := self._find(key)) is not None:
            return held
        with self._lock:
            drawing = self._drawing.setdefault(key, threading.Lock())
        with drawing:
            try:
                return self._find(key) or self._keep(key, draw())
            finally:
                with self._lock:
                    self._drawing.pop(key, None)

    def tagged(self, tag: str, question: Question) -> bytes | None:
        """The bytes of that tag, if they are still held and answered the same question."""
        with self._lock:
            body = self._bodies.get(tag)
            if body is None or _tag(question, body) != tag:
                return None
            self._bodies.move_to_end(tag)
            return body

    def _find(self, key: Key) -> Drawn | None:
        with self._lock:
            tag = self._tags.get(key)
            body = None if tag is None else self._bodies.get(tag)
            if tag is None or body is None:
                return None
            self._tags.move_to_end(key)
            self._bodies.move_to_end(tag)
            return Drawn(tag, body)

    def _keep(self, key: Key, body: bytes) -> Drawn:
        tag = _tag(key[:3], body)
        with self._lock:
            self._tags[key] = tag
            if tag not in self._bodies:
                self._bodies[tag] = body
                self._num_bytes += len(body)
            self._bodies.move_to_end(tag)
            while self._num_bytes > self._max_bytes:
                self._num_bytes -= len(self._bodies.popitem(last=False)[1])
            while len(self._tags) > MAX_KEYS:
                self._tags.popitem(last=False)
        return Drawn(tag, body)


def _tag(question: Question, body: bytes) -> str:
    """As an ETag is written; weak, for the same figure travels packed in several ways."""
    said = hashlib.sha256(repr(question).encode())
    said.update(body)
    return f'W/"{said.hexdigest()[:24]}"'
