"""Silences: for a time, alerts that all matchers fit are stored and shown, and nobody is told."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshock.server.alerts.matcher import Matcher, labels_of
from foreshock.server.errors import InvalidError, TooManySilencesError, UnknownSilenceError
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import silences

# Each is held against every alert that is shown or told
MAX_LIVE_SILENCES: Final = 200
MAX_MATCHERS: Final = 16
LONGEST_SECONDS: Final = 366 * 86_400.0
# Those that are over are shown for so long
KEPT_SECONDS: Final = 30 * 86_400.0

Time = Annotated[float | None, Field(ge=0, le=1e11, allow_inf_nan=False)]
State = Literal["pending", "active", "expired"]


class NewSilence(BaseModel):
    """What is silenced, by whom, why, and until when."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "matchers": [{"name": "rule", "operator": "=", "value": "loss_spike"}],
                    "author": "mira",
                    "comment": "known data bug, until the new shard is in",
                    "duration_seconds": 7200,
                }
            ]
        },
    )

    matchers: list[Matcher] = Field(min_length=1, max_length=MAX_MATCHERS)
    author: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$")
    comment: str = Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")
    project: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="The one project that it is about; by default all.",
    )
    starts_at: Time = Field(None, description="Seconds since the epoch; by default now.")
    ends_at: Time = Field(None, description="Seconds since the epoch; or give duration_seconds.")
    duration_seconds: float | None = Field(None, gt=0, le=LONGEST_SECONDS, allow_inf_nan=False)

    @model_validator(mode="after")
    def _looks_for_something(self) -> "NewSilence":
        if all(one.fits({}) for one in self.matchers):
            raise ValueError(
                "the matchers fit every alert: name what is silenced by a value that is not empty, such as "
                "rule=loss_spike"
            )
        if (self.ends_at is None) == (self.duration_seconds is None):
            raise ValueError("give ends_at or duration_seconds, one of both")
        return self


@dataclass(frozen=True, slots=True)
class Silence:
    """A stored silence. Times in seconds since the epoch."""

    silence_id: str
    project: str | None
    matchers: tuple[Matcher, ...]
    author: str
    comment: str
    starts_at: float
    ends_at: float
    created_at: float
    expired_at: float | None

    def state(self, now: float) -> State:
        """Whether it has begun, and is not over."""
        if self.expired_at is not None or self.ends_at <= now:
            return "expired"
        return "active" if self.starts_at <= now else "pending"

    def fits(self, alert: Mapping[Any, Any]) -> bool:
        """Whether an alert's row is of its project and fits all of its matchers."""
        if self.project not in (None, alert["project"]):
            return False
        labels = labels_of(alert)
        return all(one.fits(labels) for one in self.matchers)

    def as_dict(self, now: float) -> dict[str, Any]:
        """The silence as the API tells it."""
        return {
            "silence_id": self.silence_id,
            "state": self.state(now),
            "project": self.project,
            "matchers": [one.model_dump() for one in self.matchers],
            "author": self.author,
            "comment": self.comment,
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
            "created_at": self.created_at,
            "expired_at": self.expired_at,
        }


def create_silence(engine: sa.Engine, new: NewSilence, clock: float | None = None) -> Silence:
    """Stores a silence; raises InvalidError for times that make none, TooManySilencesError."""
    now = time.time() if clock is None else clock
    starts_at = now if new.starts_at is None else new.starts_at
    ends_at = starts_at + new.duration_seconds if new.duration_seconds is not None else new.ends_at
    if ends_at is None or not max(starts_at, now) < ends_at <= starts_at + LONGEST_SECONDS:
        raise InvalidError(
            f"the silence would last from {starts_at:.0f} to {ends_at or 0:.0f}, and it is {now:.0f}: it "
            "must end after its start and after now, and within a year"
        )
    row = {
        "silence_id": secrets.token_hex(6),
        "project": new.project,
        "matchers": [one.model_dump() for one in new.matchers],
        "author": new.author.strip(),
        "comment": new.comment.strip(),
        "starts_at": starts_at,
        "ends_at": ends_at,
        "created_at": now,
        "expired_at": None,
    }
    count = sa.select(sa.func.count()).select_from(silences).where(_is_live(now))
    with writing(engine) as connection:
        if connection.execute(count).scalar_one() >= MAX_LIVE_SILENCES:
            raise TooManySilencesError(
                f"{MAX_LIVE_SILENCES} silences are live, as many as there may be: end those that nobody "
                "needs (foreshock alerts silences, foreshock alerts unsilence ID)"
            )
        connection.execute(sa.insert(silences).values(row))
    return _silence(row)


def list_silences(engine: sa.Engine, project: str | None = None) -> list[Silence]:
    """All silences that are not long over, or those of one project, newest first."""
    of_project = [] if project is None else [silences.c.project == project]
    is_recent = _is_live(time.time() - KEPT_SECONDS)
    query = sa.select(silences).where(*of_project, is_recent)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(silences.c.created_at.desc(), silences.c.silence_id))
        return [_silence(row) for row in rows.mappings()]


def expire_silence(engine: sa.Engine, silence_id: str, project: str | None = None) -> Silence:
    """Ends a silence; one that is over stays as it is. Raises UnknownSilenceError.

    With a project, silences that are not of it do not exist.
    """
    of_silence = [silences.c.silence_id == silence_id]
    if project is not None:
        of_silence.append(silences.c.project == project)
    now = time.time()
    with writing(engine) as connection:
        connection.execute(sa.update(silences).where(*of_silence, _is_live(now)).values(expired_at=now))
        row = connection.execute(sa.select(silences).where(*of_silence)).mappings().one_or_none()
    if row is None:
        raise UnknownSilenceError(
            f"there is no silence {silence_id[:64]!r} here: foreshock alerts silences shows all"
        )
    return _silence(row)


def active_silences(connection: sa.Connection, now: float) -> list[Silence]:
    """What is silenced at a moment, the silence that lasts longest first."""
    query = sa.select(silences).where(_is_live(now), silences.c.starts_at <= now)
    rows = connection.execute(query.order_by(silences.c.ends_at.desc(), silences.c.silence_id))
    return [_silence(row) for row in rows.mappings()]


def silences_of(active: Sequence[Silence], alert: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """By which of the silences an alert is silenced, as lists of alerts show it."""
    return [
        {"silence_id": one.silence_id, "author": one.author, "ends_at": one.ends_at}
        for one in active
        if one.fits(alert)
    ]


def _is_live(now: float) -> sa.ColumnElement[bool]:
    return sa.and_(
        silences.c.ends_at > now, sa.or_(silences.c.expired_at.is_(None), silences.c.expired_at > now)
    )


def _silence(row: Mapping[Any, Any]) -> Silence:
    matchers = tuple(Matcher.model_validate(one) for one in row["matchers"])
    return Silence(**{**row, "matchers": matchers})
