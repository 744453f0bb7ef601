"""Posts JSON to a receiver that may hang, lie, drip, redirect or never stop talking."""

import contextvars
import logging
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from foreshock.server.alerts.notifier import DeliveryError

MAX_ANSWER_BYTES: Final = 16 * 1024
MAX_SHOWN: Final = 300
# A receiver that asks for more patience than this is asked again all the same
MAX_RETRY_AFTER_SECONDS: Final = 3600.0
# Of the 4xx, those that say "later", not "no"
LATER: Final = frozenset({408, 425, 429})

# What they log of a request: its address; what they log of an answer: headers that may repeat it
_CHATTY: Final = (
    "httpx",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)

_is_posting: contextvars.ContextVar[bool] = contextvars.ContextVar("is_posting", default=False)


def _is_not_ours(record: logging.LogRecord) -> bool:
    """Addresses are secrets here, and httpx logs them."""
    return not _is_posting.get()


@dataclass(slots=True)
class HttpPost:
    """Posts to one address; the whole exchange ends within `timeout_seconds`.

    url: http:// or https://; redirects are refused, for what it carries is meant for this address alone.
    auth: user and password, or none. bearer: a token, or none.
    trusted: whose certificates an https:// address may show, the system's where none are given.
    """

    url: str = field(repr=False)
    timeout_seconds: float = 10.0
    auth: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    trusted: ssl.SSLContext | None = field(default=None, repr=False)
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in _CHATTY:
            logging.getLogger(name).addFilter(_is_not_ours)
        headers = {"Accept-Encoding": "identity", "User-Agent": "foreshock"}
        if self.bearer is not None:
            headers["Authorization"] = f"Bearer {self.bearer}"
        self._client = httpx.Client(
            timeout=self.timeout_seconds,
            follow_redirects=False,
            auth=self.auth,
            headers=headers,
            verify=True if self.trusted is None else self.trusted,
            # Every exchange has a connection of its own, which its deadline may cut
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def __call__(self, body: bytes) -> None:
        """Posts a JSON body; raises DeliveryError for any answer but 2xx, or none in time."""
        is_posting = _is_posting.set(True)
        deadline = _Deadline(self.timeout_seconds)
        failure: str | None = None
        try:
            with deadline.running():
                self._post(body, deadline)
            return
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            failure = f"{type(error).__name__}: {error}"
            if "CERTIFICATE_VERIFY_FAILED" in failure:
                failure += ": name the authority that signed its certificate in ca_file"
        finally:
            _is_posting.reset(is_posting)
        if deadline.is_over or failure.endswith("timed out"):
            failure = f"no whole answer within {self.timeout_seconds:g} seconds"
        # Raised out here, so that nothing of httpx's, which holds the address, hangs on it
        raise DeliveryError(failure)

    def _post(self, body: bytes, deadline: "_Deadline") -> None:
        headers = {"Content-Type": "application/json"}
        with self._client.stream(
            "POST", self.url, content=body, headers=headers, extensions={"trace": deadline.trace}
        ) as answer:
            if answer.is_success:
                return
            told = _read(answer).decode(errors="replace").strip()[:MAX_SHOWN]
            status = answer.status_code
            if answer.has_redirect_location:
                told = "it redirects, which is not followed: give the address that it leads to"
            raise DeliveryError(
                f"answered {status} {answer.reason_phrase}: {told}".rstrip(": "),
                is_final=300 <= status < 500 and status not in LATER,
                retry_after_seconds=_retry_after(answer.headers),
            )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()


class _Deadline:
    """Cuts an exchange's connection when its time is over; httpx itself times single reads and writes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_over = False

    @contextmanager
    def running(self) -> Iterator[None]:
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def trace(self, event: str, told: Mapping[str, Any]) -> None:
        """Notes the connection; called by httpx."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = told["return_value"].get_extra_info("socket")
                if self.is_over:
                    self._cut()

    def _end(self) -> None:
        with self._lock:
            self.is_over = True
            self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself


def _read(answer: httpx.Response) -> bytes:
    """The beginning of an answer, however long it is."""
    held = b""
    for part in answer.iter_raw(MAX_ANSWER_BYTES):
        held += part
        if len(held) >= MAX_ANSWER_BYTES:
            break
    return held


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now: the header holds seconds or a date."""
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - time.time()
    if math.isnan(seconds):
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER_SECONDS)
