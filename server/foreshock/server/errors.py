"""What can go wrong in the collector, with the problem that each error becomes over HTTP."""

from collections.abc import Mapping
from typing import ClassVar


class ServerError(Exception):
    """Base of all collector errors: an RFC 9457 problem over HTTP, one line on the command line.

    `detail` says what was given, what is allowed, what to do. `members` are the problem's extra
    members, `headers` go with the answer.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The collector failed"

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = members


class InvalidError(ServerError):
    """Raised when a request is well-formed but asks for something that is not allowed."""

    code, status, title = "invalid", 422, "The request is not valid"


class UnknownRunError(ServerError):
    """Raised when a run, or a rank and attempt of it, was never declared."""

    code, status, title = "unknown-run", 404, "No such run"


class UnknownProjectError(ServerError):
    """Raised when a project has no run."""

    code, status, title = "unknown-project", 404, "No such project"


class RunDeletedError(ServerError):
    """Raised when a probe writes to a run that was deleted: nothing more of it is taken."""

    code, status, title = "run-deleted", 410, "The run was deleted"


class UnknownAttemptError(ServerError):
    """Raised when a run has no attempt of that number."""

    code, status, title = "unknown-attempt", 404, "No such attempt"


class UnknownAlertError(ServerError):
    """Raised when a run has no alert of that number."""

    code, status, title = "unknown-alert", 404, "No such alert"


class UnknownSilenceError(ServerError):
    """Raised when there is no silence of that id."""

    code, status, title = "unknown-silence", 404, "No such silence"


class UnknownEvaluationError(ServerError):
    """Raised when the package ships no evaluation of that name."""

    code, status, title = "unknown-evaluation", 404, "No such evaluation"


class UnknownSnapshotError(ServerError):
    """Raised when there can be no picture of an alert."""

    code, status, title = "unknown-snapshot", 404, "No such picture"


class UnknownNotifierError(ServerError):
    """Raised when no notifier of the collector has that name."""

    code, status, title = "unknown-notifier", 404, "No such notifier"


class UnknownTokenError(ServerError):
    """Raised when there is no token of that id."""

    code, status, title = "unknown-token", 404, "No such token"


class UnknownFigureError(ServerError):
    """Raised when no figure of that name exists."""

    code, status, title = "unknown-figure", 404, "No such figure"


class UnknownSeriesError(ServerError):
    """Raised when a run has no series of that name."""

    code, status, title = "unknown-series", 404, "No such series"


class MalformedRequestError(ServerError):
    """Raised when the bytes of a request are not what they claim to be."""

    code, status, title = "malformed", 400, "The request cannot be read"


class UnsupportedVersionError(ServerError):
    """Raised when a probe speaks a newer wire version than this collector."""

    code, status, title = "unsupported-version", 400, "The wire version is newer than this collector"


class TooLargeRequestError(ServerError):
    """Raised when a request's body passes its limit."""

    code, status, title = "too-large", 413, "The request is too large"


class WrongLengthError(ServerError):
    """Raised when a batch carries another number of values than its layout has columns."""

    code, status, title = "wrong-length", 422, "A batch does not fit its layout"


class UnknownLayoutError(ServerError):
    """Raised when a batch names a layout that was not declared in its attempt."""

    code, status, title = "unknown-layout", 422, "A batch names an undeclared layout"


class LayoutChangedError(ServerError):
    """Raised when a layout number is declared again with other columns."""

    code, status, title = "layout-changed", 422, "A layout was declared twice, differently"


class StepWentBackError(ServerError):
    """Raised when steps of one layout do not rise within an attempt."""

    code, status, title = "step-went-back", 422, "Steps must rise within an attempt"


class SequenceGapError(ServerError):
    """Raised when records are missing between what is stored and what was sent."""

    code, status, title = "sequence-gap", 409, "Records are missing before these"


class AttemptTakenError(ServerError):
    """Raised when another process already writes this attempt of the run."""

    code, status, title = "attempt-taken", 409, "Another process writes this attempt"


class RunTakenError(ServerError):
    """Raised when a token of one project declares a run whose id belongs to another project."""

    code, status, title = "run-taken", 409, "The run's id is taken"


class TooManyRunsError(ServerError):
    """Raised when a token has declared as many runs as it may."""

    code, status, title = "too-many-runs", 409, "More runs than this token may declare"


class TooManyTokensError(ServerError):
    """Raised when as many tokens are live as a collector holds."""

    code, status, title = "too-many-tokens", 409, "Too many tokens are live"


class TooManySilencesError(ServerError):
    """Raised when as many silences are live as there may be."""

    code, status, title = "too-many-silences", 409, "Too many silences are live"


class TooManyNotesError(ServerError):
    """Raised when a run has as many notes as are kept of one."""

    code, status, title = "too-many-notes", 409, "The run has too many notes"


class TooManySeriesError(ServerError):
    """Raised when a writer of a run declares more columns than it may."""

    code, status, title = "too-many-series", 422, "More series than allowed"


class RateLimitError(ServerError):
    """Raised when a token sends more requests or bytes a second than it may."""

    code, status, title = "rate-limited", 429, "This token sends too fast"


class BusyError(ServerError):
    """Raised when more appends wait than the collector is willing to hold."""

    code, status, title = "busy", 429, "Too many appends are waiting"


class StorageError(ServerError):
    """Raised when the database cannot be reached or refuses to write; nothing of the request is stored."""

    code, status, title = "storage-unavailable", 503, "The database does not answer"


class ReadOnlyStorageError(StorageError):
    """Raised when the database has become read-only."""

    code, status, title = "storage-read-only", 503, "The database is read-only"


class FullStorageError(StorageError):
    """Raised when the disk below the database is full."""

    code, status, title = "storage-full", 507, "The disk is full"


class DamagedError(ServerError):
    """Raised when what is stored is not what was written."""

    code, status, title = "damaged", 500, "The stored data is damaged"


class UnauthorizedError(ServerError):
    """Raised when a request carries no token, or a wrong one."""

    code, status, title = "unauthorized", 401, "A token is needed"


class ForbiddenError(ServerError):
    """Raised when a request comes from a place that may not ask."""

    code, status, title = "forbidden", 403, "The request is refused"


class StartError(ServerError):
    """Raised when the collector cannot start; its one line says what to do."""

    code, title = "cannot-start", "The collector cannot start"


class CommandError(ServerError):
    """Raised when a command cannot do what it was asked; its one line says what to do."""


class DatabaseError(StartError):
    """Raised when the database cannot be opened, created or migrated."""


class NewerDatabaseError(DatabaseError):
    """Raised when a newer foreshock has migrated the database beyond what this one knows."""


class DatabaseInUseError(DatabaseError):
    """Raised when another collector already has the SQLite file."""


class BackupError(StartError):
    """Raised when a backup cannot be written, or is not what it should be; nothing has its name then."""


class MoveError(StartError):
    """Raised when a database cannot be moved, or the target does not hold what the source holds."""
