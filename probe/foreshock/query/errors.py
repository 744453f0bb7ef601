"""What can go wrong when a collector is asked from Python or from the command line."""

from typing import Any


class QueryError(Exception):
    """Base of all errors of the client. A message says what was given, what is allowed, what to do."""


class AddressError(QueryError):
    """Raised when the collector's address or the token cannot be used; nothing was sent."""


class UnreachableError(QueryError):
    """Raised when no collector answers, or what answers is none."""


class MissingLibraryError(QueryError):
    """Raised when a library is not installed; the message names the extra that brings it."""


class UnknownColumnError(QueryError):
    """Raised when a run has no column of that name."""


class ProblemError(QueryError):
    """Raised when the collector refuses, with the problem that it told.

    `status` is the HTTP status, `code` the last part of the problem's type (`unknown-run`), `detail` the
    collector's own sentence, `members` what else the problem holds (`next_attempt`).
    """

    def __init__(self, status: int, code: str, title: str, detail: str, members: dict[str, Any]) -> None:
        super().__init__(f"the collector answers {status} {code}: {detail or title}")
        self.status, self.code, self.title, self.detail, self.members = status, code, title, detail, members
