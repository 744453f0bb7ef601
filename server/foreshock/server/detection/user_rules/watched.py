"""A rules file that may be edited while runs are judged: new rules are taken if they are valid."""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from foreshock.server.detection.user_rules.book import RuleBook, read_file, read_rules, shipped_book
from foreshock.server.detection.user_rules.problems import Problem, RulesFileError

# How often the file is looked at, at most
LOOK_SECONDS: Final = 1.0

log = logging.getLogger("foreshock.rules")


class WatchedRules:
    """The last valid rules of a file, and what is wrong with it now; the shipped rules without a file."""

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        """Reads the file; raises RulesFileError where it is not valid: there are no older rules yet."""
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = b""
        self._looked_at = float("-inf")
        self._problems: tuple[Problem, ...] = ()
        self._book = shipped_book()
        if path is not None:
            data = read_file(path)
            self._book = read_rules(data, str(path))
            self._seen = hashlib.blake2b(data).digest()
        self._taken_at = clock()

    @property
    def book(self) -> RuleBook:
        """The rules that judge."""
        return self._book

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the file as it is now; empty while it is what judges."""
        return self._problems

    def refresh(self, now: float) -> bool:
        """Looks at the file, at most once a second by the caller's `now`; whether there are new rules.

        It is read whole and its content compared: a file of at most 256 KiB costs less than being
        wrong about one that was changed within the clock's grain.
        """
        if self.path is None or now - self._looked_at < LOOK_SECONDS:
            return False
        self._looked_at = now
        try:
            data = read_file(self.path)
            digest = hashlib.blake2b(data).digest()
            if digest == self._seen:
                return False
            self._seen = digest
            book = read_rules(data, str(self.path))
        except RulesFileError as error:
            self._refuse(error)
            return False
        return self._take(book)

    def status(self) -> dict[str, Any]:
        """What judges, since when, and what is wrong with the file."""
        with self._lock:
            return {
                "file": None if self.path is None else str(self.path),
                "digest": self._book.digest,
                "taken_at": self._taken_at,
                "valid": not self._problems,
                "problems": [
                    {"line": one.place.line, "column": one.place.column, "problem": one.words}
                    for one in self._problems
                ],
                "rules": [rule.name for rule in self._book.rules],
                "disabled": list(self._book.disabled),
            }

    def _take(self, book: RuleBook) -> bool:
        with self._lock:
            is_new = book.digest != self._book.digest
            self._problems = ()
            if is_new:
                self._book, self._taken_at = book, self._clock()
        if is_new:
            log.info("%s has changed: %d rules judge now", self.path, len(book.rules))
        else:
            log.info("%s is again what judges", self.path)
        return is_new

    def _refuse(self, error: RulesFileError) -> None:
        if error.problems == self._problems:
            return
        with self._lock:
            self._problems = error.problems
        # Unreadable now, it may come back as it was
        if isinstance(error.__cause__, OSError):
            self._seen = b""
        log.error(
            "%s is not valid, the rules from before go on judging:\n%s",
            self.path,
            "\n".join(one.told(error.file) for one in error.problems),
        )
