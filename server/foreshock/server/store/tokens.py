"""Tokens: made, listed, revoked. Only their SHA-256 is stored; the token itself is told once.

A token is 32 random bytes, so its plain SHA-256 cannot be searched for, and no slow hash is needed.
"""

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.server.caller import SCOPES, Caller, Limits, Scope
from foreshock.server.errors import TooManyTokensError, UnknownTokenError
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import tokens

PREFIX: Final = "fsk_"
# Every collector holds all live tokens in memory
MAX_LIVE_TOKENS: Final = 1000
MAX_LIFETIME_SECONDS: Final = 10 * 366 * 86_400.0

Words = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Rate = Annotated[float | None, Field(gt=0, le=1e12, allow_inf_nan=False)]
Count = Annotated[int | None, Field(ge=1, le=2**31 - 1)]


class NewToken(BaseModel):
    """What a token is made for: name, scopes, project, lifetime, limits."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "cluster", "scopes": ["ingest"], "project": "demo", "max_runs": 100}]
        },
    )

    name: Words
    scopes: list[Scope] = Field(min_length=1, max_length=len(SCOPES))
    project: Words | None = Field(None, description="The one project that it opens; by default all.")
    expires_in_seconds: float | None = Field(None, gt=0, le=MAX_LIFETIME_SECONDS, allow_inf_nan=False)
    max_requests_per_second: Rate = None
    max_bytes_per_second: Rate = None
    max_runs: Count = None
    max_series: Count = None

    @field_validator("scopes")
    @classmethod
    def _each_once(cls, scopes: list[Scope]) -> list[Scope]:
        return [scope for scope in SCOPES if scope in scopes]


@dataclass(frozen=True, slots=True)
class Token:
    """A stored token, without what would let anybody in. Times in seconds since the epoch."""

    token_id: str
    name: str
    scopes: tuple[Scope, ...]
    project: str | None
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    limits: Limits

    @property
    def state(self) -> Literal["live", "expired", "revoked"]:
        """Whether it opens anything at this moment."""
        if self.revoked_at is not None:
            return "revoked"
        return "live" if self.expires_at is None or self.expires_at > time.time() else "expired"

    @property
    def caller(self) -> Caller:
        """Who asks with it."""
        return Caller(self.token_id, frozenset(self.scopes), self.project, self.limits)

    def as_dict(self) -> dict[str, Any]:
        """The token as the API and the command tell it."""
        return {
            "token_id": self.token_id,
            "name": self.name,
            "scopes": list(self.scopes),
            "project": self.project,
            "state": self.state,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
            "last_used_at": self.last_used_at,
            "max_requests_per_second": self.limits.max_requests_per_second,
            "max_bytes_per_second": self.limits.max_bytes_per_second,
            "max_runs": self.limits.max_runs,
            "max_series": self.limits.max_series,
        }


def digest_of(secret: str) -> str:
    """What is stored in the place of a token."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create_token(engine: sa.Engine, new: NewToken) -> tuple[Token, str]:
    """Stores a new token; the token as described, and the secret, which nobody can tell again.

    Raises TooManyTokensError where MAX_LIVE_TOKENS are live.
    """
    secret, now = PREFIX + secrets.token_urlsafe(32), time.time()
    row = {
        **new.model_dump(exclude={"expires_in_seconds"}),
        "token_id": secrets.token_hex(6),
        "digest": digest_of(secret),
        "scopes": " ".join(new.scopes),
        "created_at": now,
        "expires_at": None if new.expires_in_seconds is None else now + new.expires_in_seconds,
        "revoked_at": None,
        "last_used_at": None,
    }
    count = sa.select(sa.func.count()).select_from(tokens).where(_is_live(now))
    with writing(engine) as connection:
        if connection.execute(count).scalar_one() >= MAX_LIVE_TOKENS:
            raise TooManyTokensError(
                f"{MAX_LIVE_TOKENS} tokens are live, which is as many as a collector holds: revoke those "
                "that nobody uses (foreshock token list, foreshock token revoke ID)"
            )
        connection.execute(sa.insert(tokens).values(row))
    return _token(row), secret


def list_tokens(engine: sa.Engine, project: str | None = None) -> list[Token]:
    """All tokens, or those of one project, newest first; revoked and expired ones too."""
    of_project = [] if project is None else [tokens.c.project == project]
    query = sa.select(tokens).where(*of_project).order_by(tokens.c.created_at.desc(), tokens.c.token_id)
    with reading(engine) as connection:
        return [_token(row) for row in connection.execute(query).mappings()]


def revoke_token(engine: sa.Engine, token_id: str, project: str | None = None) -> Token:
    """Ends a token for good; one that had ended stays as it is. Raises UnknownTokenError.

    With a project, tokens that are not of it do not exist.
    """
    of_token = tokens.c.token_id == token_id
    if project is not None:
        of_token = sa.and_(of_token, tokens.c.project == project)
    with writing(engine) as connection:
        connection.execute(
            sa.update(tokens).where(of_token, tokens.c.revoked_at.is_(None)).values(revoked_at=time.time())
        )
        row = connection.execute(sa.select(tokens).where(of_token)).mappings().one_or_none()
    if row is None:
        raise UnknownTokenError(f"there is no token {token_id[:64]!r} here: foreshock token list shows all")
    return _token(row)


def live_tokens(engine: sa.Engine) -> dict[str, Token]:
    """Every token that opens something now, by its digest."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(tokens).where(_is_live(time.time()))).mappings().all()
    return {row["digest"]: _token(row) for row in rows}


def has_live_admin(engine: sa.Engine) -> bool:
    """Whether some token opens everything."""
    is_admin = sa.and_(tokens.c.scopes.contains("admin"), tokens.c.project.is_(None))
    with reading(engine) as connection:
        query = sa.select(sa.exists().where(_is_live(time.time()), is_admin))
        return bool(connection.execute(query).scalar_one())


def note_use(engine: sa.Engine, used: Mapping[str, float]) -> None:
    """Stores when tokens were last used."""
    rows = [{"of_token": token_id, "last_used_at": used[token_id]} for token_id in sorted(used)]
    with writing(engine) as connection:
        statement = sa.update(tokens).where(tokens.c.token_id == sa.bindparam("of_token"))
        connection.execute(statement.values(last_used_at=sa.bindparam("last_used_at")), rows)


def _is_live(now: float) -> sa.ColumnElement[bool]:
    is_in_time = sa.or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > now)
    return sa.and_(tokens.c.revoked_at.is_(None), is_in_time)


def _token(row: sa.RowMapping | Mapping[str, Any]) -> Token:
    return Token(
        token_id=row["token_id"],
        name=row["name"],
        scopes=tuple(scope for scope in SCOPES if scope in row["scopes"].split()),
        project=row["project"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        limits=Limits(
            row["max_requests_per_second"], row["max_bytes_per_second"], row["max_runs"], row["max_series"]
        ),
    )
