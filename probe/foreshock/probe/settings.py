"""How a probe is set up: call beats environment beats default. Read at attach, never at import."""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from foreshock.probe.declare import check_run_id, check_text
from foreshock.probe.errors import AttachError

Mode = Literal["online", "offline", "disabled"]

DEFAULT_URL: Final = "http://127.0.0.1:8787"


def default_directory() -> Path:
    """Where spools live unless told otherwise: `~/.local/share/foreshock` or under XDG_DATA_HOME."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "foreshock"


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Everything that `attach` decides before it looks at the model."""

    run_id: str
    project: str
    name: str
    url: str
    token: str | None
    mode: Mode
    directory: Path
    # Training continues through any outage; the spool keeps this much of it
    spool_max_bytes: int = 2**30
    # What a crash of the training process may lose
    flush_seconds: float = 0.5
    heartbeat_seconds: float = 5.0
    finish_seconds: float = 5.0
    max_queued_frames: int = 16_384
    num_sampled_tokens: int = 256

    @property
    def run_directory(self) -> Path:
        """The folder of this run's spool."""
        return self.directory / "runs" / self.run_id


def resolve_settings(
    *,
    run_id: str | None,
    project: str | None,
    name: str | None,
    url: str | None,
    token: str | None,
    mode: str | None,
    directory: str | Path | None,
) -> ProbeSettings:
    """Joins call, environment and defaults; raises AttachError for what cannot be used."""
    environment = os.environ
    name = "run" if name is None else name
    if project is None:
        project = environment.get("FORESHOCK_PROJECT") or "default"
    check_text("name", name)
    check_text("project", project)
    mode = mode or environment.get("FORESHOCK_MODE") or "online"
    if mode not in get_args(Mode):
        raise AttachError(f"mode is {mode!r}; allowed are 'online', 'offline' and 'disabled'")
    run_id = check_run_id(run_id or environment.get("FORESHOCK_RUN_ID") or new_run_id(name))
    chosen_directory = directory or environment.get("FORESHOCK_DIR") or default_directory()
    return ProbeSettings(
        run_id=run_id,
        project=project,
        name=name,
        url=_check_url(url or environment.get("FORESHOCK_URL") or DEFAULT_URL),
        token=_check_token(token or environment.get("FORESHOCK_TOKEN") or None),
        mode=mode,  # type: ignore[arg-type]
        directory=Path(chosen_directory).expanduser(),
    )


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise AttachError(f"url is {url[:200]!r}; give the collector's address, such as {DEFAULT_URL}")
    return url.rstrip("/")


def _check_token(token: str | None) -> str | None:
    if token is not None and not (token.isascii() and token.isprintable()):
        raise AttachError("the token holds characters that no HTTP header can carry: give ASCII ones")
    return token


def new_run_id(name: str) -> str:
    """A readable identity that no other run has: the name's letters and 8 random hex digits."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:40] or "run"
    return f"{stem}-{secrets.token_hex(4)}"
