"""What nobody may read: addresses with tokens and passwords, taken out of every text that leaves."""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus, urlsplit

HIDDEN: Final = "***"
# A shorter part of an address is a word of its own more often than a token
_LEAST_PART: Final = 4
# In these addresses what follows "//" is a machine's name; in the others it is often a token
_NAMES_A_HOST: Final = frozenset(
    f"{scheme}{secure}"
    for scheme in ("http", "json", "xml", "form", "mailto", "ntfy", "gotify", "matrix", "mmost", "rocket")
    for secure in ("", "s")
)
_ADDRESS: Final = re.compile(r"\b([a-zA-Z][a-zA-Z0-9+.-]*)://[^\s'\"<>)\]}]+")


class Secrets:
    """Takes secrets out of text: each by itself, in the forms in which errors quote them, and all of any
    address but its scheme and machine.
    """

    def __init__(self, addresses: Iterable[str] = (), words: Iterable[str] = ()) -> None:
        known = {part for address in addresses for part in _parts(address)}
        known |= {word for word in words if word}
        forms = {form for one in known for form in _forms(one)}
        longest_first = sorted(forms, key=lambda form: (-len(form), form))
        self._known = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None

    def __repr__(self) -> str:
        return "Secrets()"

    def hide(self, text: str) -> str:
        """The text without any of them."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        return _ADDRESS.sub(_shown, text)


def shown_address(address: str) -> str:
    """An address as people may read it: its scheme, and the machine where that is one."""
    scheme, _, _ = address.partition("://")
    if scheme.lower() not in _NAMES_A_HOST:
        return f"{scheme}://{HIDDEN}"
    parts = urlsplit(address)
    rest = f"/{HIDDEN}" if parts.path.strip("/") or parts.query else parts.path
    return f"{scheme}://{_machine(parts.netloc)}{rest}"


def _machine(place: str) -> str:
    return place.rpartition("@")[2]


def _shown(found: re.Match[str]) -> str:
    return shown_address(found[0])


def _parts(address: str) -> Iterator[str]:
    """Everything in an address that may be a secret, and the address itself."""
    yield address
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    user, _, machine = parts.netloc.rpartition("@")
    pieces = [user, *user.split(":"), *parts.path.split("/"), parts.path.strip("/"), parts.fragment]
    pieces += [value for _, value in parse_qsl(parts.query)]
    if parts.scheme not in _NAMES_A_HOST:
        pieces += [machine, *machine.split(":")]
    yield from (piece for piece in pieces if len(piece) >= _LEAST_PART)
    # A password is one however short
    yield from filter(None, user.split(":")[1:])


def _forms(secret: str) -> Iterator[str]:
    for plain in {secret, unquote(secret), unquote_plus(secret)}:
        yield from (plain, quote(plain), quote(plain, safe=""), quote_plus(plain), repr(plain)[1:-1])
        yield json.dumps(plain)[1:-1]
        yield base64.b64encode(plain.encode()).decode().rstrip("=")
