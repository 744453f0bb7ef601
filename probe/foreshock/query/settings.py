"""Which collector is asked: call beats environment beats default. Read when a client is made."""

import os
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from foreshock.query.errors import AddressError

DEFAULT_URL: Final = "http://127.0.0.1:8787"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a collector listens, and the token that it wants, if any."""

    url: str
    token: str | None = field(repr=False)


def resolve_address(url: str | None = None, token: str | None = None) -> Address:
    """Joins the call, FORESHOCK_URL and FORESHOCK_TOKEN, and the default; raises AddressError."""
    url = url or os.environ.get("FORESHOCK_URL") or DEFAULT_URL
    token = token or os.environ.get("FORESHOCK_TOKEN") or None
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise AddressError(f"url is {url[:200]!r}; give the collector's address, such as {DEFAULT_URL}")
    if token is not None and not (token.isascii() and token.isprintable()):
        raise AddressError("the token holds characters that no HTTP header can carry: give ASCII ones")
    return Address(url.rstrip("/"), token)
