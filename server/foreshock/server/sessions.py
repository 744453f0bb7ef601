"""Signed-in browsers: a cookie that proves the token was known, and is not the token."""

import hashlib
import hmac
import time
from typing import Final

COOKIE: Final = "foreshock_session"
LIFETIME_SECONDS: Final = 30 * 24 * 3600


class Sessions:
    """Checks tokens and issues session values; a changed token ends all sessions."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._key = hashlib.sha256(b"foreshock session key\0" + self._token).digest()

    def is_token(self, given: str) -> bool:
        """Compares in constant time."""
        return hmac.compare_digest(given.encode(), self._token)

    def issue(self) -> str:
        """A value that `is_session` accepts for 30 days."""
        expires = str(int(time.time()) + LIFETIME_SECONDS)
        return f"{expires}.{self._sign(expires)}"

    def is_session(self, value: str) -> bool:
        """Whether this collector issued the value, and not too long ago."""
        expires, _, signature = value.partition(".")
        is_ours = hmac.compare_digest(signature.encode(), self._sign(expires).encode())
        return is_ours and int(expires) > time.time()

    def _sign(self, expires: str) -> str:
        return hmac.new(self._key, expires.encode(), hashlib.sha256).hexdigest()
