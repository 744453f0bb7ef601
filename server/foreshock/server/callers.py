"""Who is behind a token or a cookie, answered from memory.

All live tokens are held here and read anew when they are older than a second, by whichever request
comes then: a wrong token costs no query, an append none of its own, and a token that is revoked,
wherever that happens, opens nothing two seconds later.
"""

import asyncio
import hmac
import logging
import threading
import time
from typing import Final

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.caller import ROOT, Caller
from foreshock.server.rates import Meter
from foreshock.server.sessions import Sessions
from foreshock.server.settings import Settings
from foreshock.server.store.tokens import Token, digest_of, live_tokens, note_use

FRESH_SECONDS: Final = 1.0
NOTE_SECONDS: Final = 60.0
_ROOT_SUBJECT: Final = "root"

log = logging.getLogger("foreshock.tokens")


class Callers:
    """Knows FORESHOCK_TOKEN, the database's live tokens, and the sessions given for either."""

    def __init__(self, engine: sa.Engine, settings: Settings) -> None:
        root = None if settings.token is None else settings.token.get_secret_value()
        self.is_locked = root is not None or not settings.is_loopback
        self._engine = engine
        self._root_digest = None if root is None else digest_of(root)
        self._sessions = Sessions(root)
        self._by_digest: dict[str, Token] = {}
        self._by_id: dict[str, Token] = {}
        self._read_at = -float("inf")
        self._reading = asyncio.Lock()
        self._meters: dict[str, Meter] = {}
        self._used: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._note_uses, name="foreshock-tokens", daemon=True)

    def start(self) -> None:
        """Starts the thread that notes when tokens were used."""
        self._thread.start()

    def stop(self) -> None:
        """Notes the last uses and ends the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    async def by_secret(self, secret: str) -> Caller | None:
        """Who has this token; None where nobody does, or not any more."""
        digest = digest_of(secret)
        if self._root_digest is not None and hmac.compare_digest(digest, self._root_digest):
            return ROOT
        await self._refresh()
        # The lookup tells at most how a hash begins, which nobody can aim at
        return self._caller(self._by_digest.get(digest))

    async def by_session(self, value: str) -> Caller | None:
        """For whom the cookie was given; None where that token opens nothing any more."""
        subject = self._sessions.read(value)
        if subject is None or subject == _ROOT_SUBJECT:
            return None if subject is None else ROOT
        await self._refresh()
        return self._caller(self._by_id.get(subject))

    async def is_current(self, caller: Caller) -> bool:
        """Whether somebody who was let in would be let in now; not while the database does not answer."""
        if caller.token_id is None:
            return True
        try:
            await self._refresh()
        except SQLAlchemyError:
            return False
        return self._caller(self._by_id.get(caller.token_id)) is not None

    def session_for(self, caller: Caller) -> str:
        """A cookie's value for somebody who has shown a token."""
        return self._sessions.issue(caller.token_id or _ROOT_SUBJECT)

    def meter(self, caller: Caller) -> Meter | None:
        """What counts the caller's requests and bytes; None where nothing bounds them."""
        if caller.token_id is None or not caller.limits.has_rates:
            return None
        if caller.token_id not in self._meters:
            self._meters[caller.token_id] = Meter(caller.limits)
        return self._meters[caller.token_id]

    def forget(self) -> None:
        """Makes the next request read the tokens anew."""
        self._read_at = -float("inf")

    def _caller(self, token: Token | None) -> Caller | None:
        if token is None or token.state != "live":
            return None
        self._used[token.token_id] = time.time()
        return token.caller

    async def _refresh(self) -> None:
        """Reads the tokens where they are too old; raises SQLAlchemyError where that cannot be done."""
        async with self._reading:
            begun = time.monotonic()
            if begun - self._read_at < FRESH_SECONDS:
                return
            self._read_at = begun
            try:
                self._by_digest = await run_in_threadpool(live_tokens, self._engine)
            except BaseException:
                self.forget()
                raise
            self._by_id = {token.token_id: token for token in self._by_digest.values()}
            self._meters = {key: meter for key, meter in self._meters.items() if key in self._by_id}

    def _note_uses(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(NOTE_SECONDS)
            used, self._used = self._used, {}
            try:
                if used:
                    note_use(self._engine, used)
            except SQLAlchemyError as error:
                log.warning("when tokens were last used could not be noted: %s", error.__class__.__name__)
