"""Where the `foreshock token` command makes and ends tokens: in a database, or at a running collector."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import sqlalchemy as sa

from foreshock.server.errors import CommandError, DatabaseInUseError
from foreshock.server.store.engine import open_database
from foreshock.server.store.tokens import NewToken, create_token, list_tokens, revoke_token

TIMEOUT_SECONDS = 30.0


class TokenBook(Protocol):
    """Tokens as the API tells them; raises ServerError, whose detail says what to do."""

    def create(self, new: NewToken) -> dict[str, Any]:
        """Makes a token; the secret is the member `token`."""

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens, newest first."""

    def revoke(self, token_id: str) -> dict[str, Any]:
        """Ends a token."""


class StoredBook:
    """Tokens of a database that this process has open."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def create(self, new: NewToken) -> dict[str, Any]:
        """Makes a token; the secret is the member `token`."""
        token, secret = create_token(self._engine, new)
        return {**token.as_dict(), "token": secret}

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens, newest first."""
        return [token.as_dict() for token in list_tokens(self._engine)]

    def revoke(self, token_id: str) -> dict[str, Any]:
        """Ends a token."""
        return revoke_token(self._engine, token_id).as_dict()


class RemoteBook:
    """Tokens of a running collector, asked over HTTP with FORESHOCK_TOKEN."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def create(self, new: NewToken) -> dict[str, Any]:
        """Makes a token; the secret is the member `token`."""
        return self._ask("POST", "/api/v1/tokens", new.model_dump(exclude_none=True))

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens, newest first."""
        found: list[dict[str, Any]] = self._ask("GET", "/api/v1/tokens")["tokens"]
        return found

    def revoke(self, token_id: str) -> dict[str, Any]:
        """Ends a token."""
        return self._ask("DELETE", f"/api/v1/tokens/{quote(token_id, safe='')}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        where = self._client.base_url
        try:
            answer = self._client.request(method, path, json=body)
            told: dict[str, Any] = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise CommandError(f"the collector at {where} cannot be reached: {error}") from error
        except ValueError as error:
            raise CommandError(f"{where} answered {answer.status_code} and is no collector") from error
        if answer.is_success:
            return told
        raise CommandError(f"{where} refuses ({answer.status_code}): {told.get('detail', 'it says no more')}")


@contextmanager
def open_book(*, db: str | None, url: str | None) -> Iterator[TokenBook]:
    """What is said beats the environment; an address beats a database where both are only there.

    Raises StartError or CommandError where neither can be had.
    """
    if url is None and db is None:
        url = os.environ.get("FORESHOCK_URL") or None
    if url is not None:
        token = os.environ.get("FORESHOCK_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            yield RemoteBook(client)
        return
    path = db or os.environ.get("FORESHOCK_DB") or "foreshock.db"
    try:
        database = open_database(path)
    except DatabaseInUseError as error:
        raise CommandError(
            f"a collector has {path} open: ask it, with --url http://127.0.0.1:8787 or FORESHOCK_URL, and "
            "FORESHOCK_TOKEN where it needs one"
        ) from error
    with database:
        yield StoredBook(database.engine)
