"""One connection to a collector: a request, and an understood answer or an error that says why not."""

import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec

from foreshock.query.errors import ProblemError, UnreachableError
from foreshock.query.settings import resolve_address

Answer = TypeVar("Answer")
Query = dict[str, Any]

MSGPACK: Final = "application/msgpack"
_BUSY: Final = (429, 503)


class Connection:
    """HTTP to one collector.

    A collector that is busy (429, 503) and says when to come back is asked again, for `patience_seconds`
    in all of one request; nothing else is tried twice. `timeout_seconds` bounds each wait for an answer.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout_seconds: float = 60.0,
        patience_seconds: float = 60.0,
    ) -> None:
        """Opens nothing yet; raises AddressError for an address or token that cannot be used."""
        address = resolve_address(url, token)
        headers = {"Authorization": f"Bearer {address.token}"} if address.token else {}
        self.url = address.url
        self._patience_seconds = patience_seconds
        self._client = httpx.Client(
            base_url=address.url, headers=headers, timeout=timeout_seconds, trust_env=False
        )

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at `/api/v1` + path; what is None is left out of the query."""
        return self._decode(self._ask("GET", path, params=_told(query)))

    def get_packed(self, path: str, kind: type[Answer], **query: Any) -> Answer:
        """The same as msgpack, checked against `kind`."""
        answer = self._ask("GET", path, params=_told(query), headers={"Accept": MSGPACK})
        try:
            return msgspec.msgpack.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise self._no_collector(answer) from error

    def post(self, path: str, content: bytes, content_type: str, kind: type[Answer]) -> Answer:
        """Sends bytes; the JSON answer, checked against `kind`."""
        answer = self._ask("POST", path, content=content, headers={"Content-Type": content_type})
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise self._no_collector(answer) from error

    def listen(self, path: str, **query: Any) -> Iterator[str]:
        """Server-sent events at `/api/v1` + path: the name of each, "" for a sign of life, until they end."""
        try:
            with self._client.stream("GET", f"/api/v1{path}", params=_told(query)) as answer:
                if not answer.is_success:
                    answer.read()
                    raise self._problem(answer)
                for line in answer.iter_lines():
                    name, _, value = line.partition(":")
                    if name == "event":
                        yield value.strip()
                    elif line and name in ("", "retry"):
                        yield ""
        except (httpx.HTTPError, OSError) as error:
            raise UnreachableError(f"the events of {self.url} have ended ({error})") from error

    def close(self) -> None:
        """Closes the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        patient_until = time.monotonic() + self._patience_seconds
        while True:
            try:
                answer = self._client.request(method, f"/api/v1{path}", **request)
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise UnreachableError(
                    f"no collector answers at {self.url} ({error}): start one with `foreshock serve`, or "
                    "name yours with --url or FORESHOCK_URL"
                ) from error
            if answer.is_success:
                return answer
            pause = _pause_of(answer)
            if pause is None or time.monotonic() + pause > patient_until:
                raise self._problem(answer)
            time.sleep(pause)

    def _decode(self, answer: httpx.Response) -> Any:
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError as error:
            raise self._no_collector(answer) from error

    def _problem(self, answer: httpx.Response) -> ProblemError | UnreachableError:
        try:
            told = msgspec.json.decode(answer.content, type=dict[str, Any])
            kind, title = told.pop("type"), told.pop("title")
        except (msgspec.DecodeError, KeyError):
            return self._no_collector(answer)
        told.pop("status", None)
        code, detail = str(kind).rpartition("/")[2], str(told.pop("detail", ""))
        return ProblemError(answer.status_code, code, str(title), detail, told)

    def _no_collector(self, answer: httpx.Response) -> UnreachableError:
        return UnreachableError(
            f"{self.url} answered {answer.status_code} with something that is no collector's answer: "
            "is it the address of a foreshock collector of this version?"
        )


def _told(query: Query) -> Query:
    return {name: value for name, value in query.items() if value is not None}


def _pause_of(answer: httpx.Response) -> float | None:
    """For how long a busy collector asks to be left alone; None where it is not busy, or does not say."""
    if answer.status_code not in _BUSY:
        return None
    try:
        return max(0.0, float(answer.headers["Retry-After"]))
    except (KeyError, ValueError):
        return None
