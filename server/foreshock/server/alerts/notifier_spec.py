"""What can be said of a notifier in the notifiers' file, one class a kind."""

import os
import re
import ssl
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from foreshock.server.alerts.selection import Selection
from foreshock.wire.messages import Claim, Severity

# Below the time for which the outbox claims what it sends
MAX_TIMEOUT_SECONDS: Final = 45.0
MAX_SECRET_BYTES: Final = 16 * 1024
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Timeout = Annotated[float, Field(gt=0, le=MAX_TIMEOUT_SECONDS)]
PerMinute = Annotated[float, Field(ge=1, le=6000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class NotifierSpec(BaseModel):
    """What every kind has: a name, and which alerts it wants. Empty lists mean all."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    # Each is given by itself, or named by .._env or .._file
    secrets: ClassVar[tuple[str, ...]] = ()

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")
    min_severity: Severity = "info"
    claims: tuple[Claim, ...] = ()
    projects: tuple[Name, ...] = ()
    rules: tuple[Name, ...] = ()
    send_resolved: bool = True
    max_per_minute: PerMinute | None = None

    @property
    def selection(self) -> Selection:
        """Which alerts it wants."""
        return Selection(self.min_severity, self.claims, self.projects, self.rules, self.send_resolved)

    def secret(self, name: str) -> str | None:
        """A secret by its name, from wherever it is; None where it is not given."""
        given: SecretStr | None = getattr(self, name)
        if given is not None:
            return given.get_secret_value()
        if (variable := getattr(self, f"{name}_env")) is not None:
            return os.environ[variable].strip()
        if (file := getattr(self, f"{name}_file")) is not None:
            return _read(file)
        return None

    @field_validator("url_env", "bearer_env", "password_env", check_fields=False)
    @classmethod
    def _is_in_the_environment(cls, name: str | None) -> str | None:
        if name is None:
            return None
        if _VARIABLE.fullmatch(name) is None:
            raise ValueError("must be the name of an environment variable, not the secret itself")
        if not os.environ.get(name, "").strip():
            raise ValueError(f"the environment variable {name} is not set, or empty")
        return name

    @field_validator("url_file", "bearer_file", "password_file", check_fields=False)
    @classmethod
    def _is_readable(cls, path: str | None) -> str | None:
        try:
            if path is not None and not _read(path):
                raise ValueError("the file is empty")
        except OSError as error:
            raise ValueError(f"the file cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError("the file is no text") from None
        return path

    @model_validator(mode="after")
    def _has_each_secret_once(self) -> Self:
        for name in self.secrets:
            given = [one for one in (name, f"{name}_env", f"{name}_file") if getattr(self, one) is not None]
            if len(given) > 1:
                raise ValueError(f"{' and '.join(given)} are given: give one of them")
            if not given and name == "url":
                raise ValueError("it has no address: give url, url_env or url_file")
        return self


class LogSpec(NotifierSpec):
    """The collector's own log."""

    kind: Literal["log"]


class AppriseSpec(NotifierSpec):
    """Any service that apprise knows. `snapshot`: whether a picture goes with the message."""

    secrets = ("url",)

    kind: Literal["apprise"]
    url: SecretStr | None = None
    url_env: str | None = None
    url_file: str | None = None
    snapshot: bool = True
    timeout_seconds: Timeout = 30.0
    max_per_minute: PerMinute | None = 30.0

    @model_validator(mode="after")
    def _has_a_scheme(self) -> Self:
        if "://" not in (self.secret("url") or ""):
            raise ValueError("the address is none of apprise's, such as slack:// or mailto://")
        return self


class HttpSpec(NotifierSpec):
    """What is posted to: an address, and how to sign in there.

    ca_file: certificates of the authorities, in PEM, that are trusted instead of the system's.
    """

    secrets = ("url", "bearer", "password")

    url: SecretStr | None = None
    url_env: str | None = None
    url_file: str | None = None
    bearer: SecretStr | None = None
    bearer_env: str | None = None
    bearer_file: str | None = None
    username: str | None = None
    password: SecretStr | None = None
    password_env: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    timeout_seconds: Timeout = 10.0

    @property
    def trusted(self) -> ssl.SSLContext | None:
        """Whose certificates are taken; None for the system's."""
        return None if self.ca_file is None else trust_of(self.ca_file)

    @field_validator("ca_file")
    @classmethod
    def _holds_certificates(cls, path: str | None) -> str | None:
        if path is None:
            return None
        try:
            trust_of(path)
        except ssl.SSLError:
            raise ValueError("the file holds no certificates in PEM") from None
        except OSError as error:
            raise ValueError(f"the file cannot be read: {error.strerror}") from None
        return path

    @model_validator(mode="after")
    def _can_be_posted_to(self) -> Self:
        if not (self.secret("url") or "").startswith(("http://", "https://")):
            raise ValueError("the address must begin with http:// or https://")
        has_password, has_bearer = self.secret("password") is not None, self.secret("bearer") is not None
        if (self.username is not None) != has_password:
            raise ValueError("username and password go together: give both, or none")
        if self.ca_file is not None and not (self.secret("url") or "").startswith("https://"):
            raise ValueError(
                "ca_file is for addresses that begin with https://: give such a one, or leave it out"
            )
        if has_password and has_bearer:
            raise ValueError("both a bearer token and a password are given: give one of them")
        return self


class WebhookSpec(HttpSpec):
    """A receiver of Alertmanager's v4 body. `max_alerts`: in one body; 0 is no limit."""

    kind: Literal["webhook"]
    max_alerts: int = Field(default=0, ge=0)
    max_per_minute: PerMinute | None = 60.0


class AlertmanagerSpec(HttpSpec):
    """An Alertmanager; `url` is its root, without /api/v2."""

    kind: Literal["alertmanager"]
    renew_seconds: float = Field(default=60.0, ge=1, le=3600)
    renew_acknowledged: bool = True


KINDS: Final[dict[str, type[NotifierSpec]]] = {
    "apprise": AppriseSpec,
    "webhook": WebhookSpec,
    "alertmanager": AlertmanagerSpec,
    "log": LogSpec,
}


def trust_of(path: str) -> ssl.SSLContext:
    """What takes the certificates of a file's authorities and no others; raises OSError and SSLError."""
    return ssl.create_default_context(cafile=Path(path).expanduser())


def _read(path: str) -> str:
    with Path(path).expanduser().open("rb") as file:
        return file.read(MAX_SECRET_BYTES).decode().strip()
