"""Who asks: what a request may do, in which project, and within which limits."""

from dataclasses import dataclass, field
from typing import Final, Literal

from foreshock.server.errors import ForbiddenError

Scope = Literal["ingest", "read", "admin"]

SCOPES: Final[tuple[Scope, ...]] = ("ingest", "read", "admin")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one token may use; None: no bound of its own.

    Rates are held by each collector for itself. `max_runs` counts the runs that the token has declared
    and that are not deleted, `max_series` the columns that one writer of a run has declared.
    """

    max_requests_per_second: float | None = None
    max_bytes_per_second: float | None = None
    max_runs: int | None = None
    max_series: int | None = None

    @property
    def has_rates(self) -> bool:
        """Whether requests or bytes are counted."""
        return self.max_requests_per_second is not None or self.max_bytes_per_second is not None


@dataclass(frozen=True, slots=True)
class Caller:
    """A request's origin: a token of the database, FORESHOCK_TOKEN, or whoever asks an open collector.

    `token_id` is None for the last two, `project` None where all projects are open.
    """

    token_id: str | None = None
    scopes: frozenset[Scope] = frozenset({"admin"})
    project: str | None = None
    limits: Limits = field(default_factory=Limits)

    def may(self, scope: Scope) -> bool:
        """Whether the scope is among the caller's; admin is all of them."""
        return scope in self.scopes or "admin" in self.scopes

    def sees(self, project: str) -> bool:
        """Whether what belongs to this project exists for the caller."""
        return self.project in (None, project)

    def project_of(self, asked: str | None) -> str | None:
        """The project to look into: the one asked for, else the caller's own.

        Raises ForbiddenError for a project that is not the caller's, whether there is one or not.
        """
        if asked is None or self.sees(asked):
            return asked or self.project
        raise ForbiddenError(
            f"this token opens project {self.project!r} only; asked was {asked[:200]!r}: leave the project "
            "out, or use a token of that project"
        )


ROOT: Final = Caller()
