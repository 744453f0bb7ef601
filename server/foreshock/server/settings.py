"""Everything that can be set, in one place: `FORESHOCK_<NAME>` in the environment, or the call."""

import ipaddress
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from foreshock.server.errors import StartError

_SECRET: Final = ("token", "webhook_url")


class Settings(BaseSettings):
    """The collector's settings. Call beats environment beats default."""

    model_config = SettingsConfigDict(
        env_prefix="FORESHOCK_", env_ignore_empty=True, frozen=True, extra="forbid"
    )

    db: str = Field(
        default="foreshock.db", description="SQLite file (created if absent) or a postgresql:// address."
    )
    host: str = Field(
        default="127.0.0.1", description="Address to listen on; anything but loopback needs a token."
    )
    port: int = Field(default=8787, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    token: SecretStr | None = Field(
        default=None, description="Token that opens everything; with it, every request must carry a token."
    )
    allowed_hosts: tuple[str, ...] = Field(
        default=(),
        description="Names that browsers may use for a loopback collector besides localhost (JSON list).",
    )
    public_url: str | None = Field(
        default=None, description="Address under which people reach the pages; links in notifications use it."
    )
    notifiers_file: str | None = Field(
        default=None, description="YAML file that names who is told of alerts: chats, mail, pagers, webhooks."
    )
    webhook_url: SecretStr | None = Field(
        default=None, description="Where alerts are posted, in Alertmanager's v4 body."
    )
    webhook_timeout_seconds: float = Field(
        default=10.0, gt=0, le=45, description="Longest wait for the webhook's answer."
    )
    heartbeat_grace_seconds: float = Field(
        default=60.0, gt=0, description="Silence of a running run after which its heartbeat counts as lost."
    )
    judge_interval_seconds: float = Field(
        default=1.0, gt=0, description="The judge commits at most once per run in this time."
    )
    rules_file: Path | None = Field(
        default=None,
        description="YAML file of own rules and settings of the shipped ones; a change is taken over.",
    )
    rank_grace_seconds: float = Field(
        default=30.0,
        gt=0,
        description="A rank that stands still for this long while others advance is left out.",
    )
    lease_seconds: float = Field(
        default=15.0, gt=0, description="How long a judge owns a run without renewing."
    )
    compact_interval_seconds: float = Field(
        default=2.0, gt=0, description="How often the compactor looks for batches that can become chunks."
    )
    max_waiting_appends: int = Field(
        default=256,
        ge=1,
        description="Appends that may wait for a commit before probes are told to come back.",
    )
    max_waiting_bytes: int = Field(
        default=64 * 2**20,
        ge=2**20,
        description="Bytes of appends that may be held, from arrival to commit, before probes are told so.",
    )
    max_series: int = Field(
        default=100_000, ge=1, description="Columns that one writer of a run may declare in one attempt."
    )
    cache_bytes: int = Field(
        default=96 * 2**20, ge=2**20, description="Memory for decoded batches and series."
    )
    max_live_runs: int = Field(
        default=200,
        ge=1,
        description="Live runs shown on /metrics; the rest is counted in a truncation gauge.",
    )

    @field_validator("token")
    @classmethod
    def _blank_token_is_none(cls, token: SecretStr | None) -> SecretStr | None:
        if token is None or not token.get_secret_value().strip():
            return None
        return token

    @field_validator("webhook_url")
    @classmethod
    def _webhook_is_an_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("http://", "https://")):
            raise ValueError("the address must begin with http:// or https://")
        return url

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the collector."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def address(self) -> str:
        """Where people reach the pages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    @property
    def needs_admin_token(self) -> bool:
        """Whether the collector may only start on a database that has a token for everything."""
        return not self.is_loopback and self.token is None

    def check(self, has_admin_token: bool = False) -> None:
        """Raises StartError for a combination that would expose the runs to the network."""
        if self.needs_admin_token and not has_admin_token:
            raise StartError(
                f"host {self.host} can be reached from other machines, so a token is needed: set "
                "FORESHOCK_TOKEN to a long random word, or make a token in this database with foreshock "
                "token create NAME --scope admin, or listen on 127.0.0.1"
            )


def read_settings(**given: str | int | None) -> Settings:
    """Call beats environment beats default; raises StartError for a value that is not allowed."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"])
        shown = "" if name in _SECRET else f"; given {first['input']!r}"
        failure = f"setting {name} (FORESHOCK_{name.upper()}): {first['msg']}{shown}"
    # Raised out here: what pydantic says holds what was given, and that may be a secret
    raise StartError(failure)
