"""Signed-in browsers: a cookie that names the token it was given for, and is not the token."""

import hashlib
import hmac
import secrets
import time
from typing import Final

COOKIE: Final = "foreshock_session"
LIFETIME_SECONDS: Final = 30 * 24 * 3600


class Sessions:
    """Issues and reads session values.

    The key comes from FORESHOCK_TOKEN, so that sessions outlive a restart and another collector on the
    same database takes them; a changed token ends them all. Without one the key is the process's own.
    It never comes from the database: whoever can read that must not be able to sign in.
    """

    def __init__(self, token: str | None) -> None:
        known = secrets.token_bytes(32) if token is None else token.encode()
        self._key = hashlib.sha256(b"foreshock session key\0" + known).digest()

    def issue(self, subject: str) -> str:
        """A value that `read` takes for 30 days; `subject` has no dot."""
        expires = str(int(time.time()) + LIFETIME_SECONDS)
        return f"{subject}.{expires}.{self._sign(subject, expires)}"

    def read(self, value: str) -> str | None:
        """For whom the value was issued; None where it was not issued here, or too long ago."""
        subject, _, rest = value.partition(".")
        expires, _, signature = rest.partition(".")
        is_ours = hmac.compare_digest(signature.encode(), self._sign(subject, expires).encode())
        return subject if is_ours and int(expires) > time.time() else None

    def _sign(self, subject: str, expires: str) -> str:
        return hmac.new(self._key, f"{subject}.{expires}".encode(), hashlib.sha256).hexdigest()
