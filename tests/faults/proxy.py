"""A proxy in front of collectors: one request a connection, passed to each of them in turn."""

import asyncio
import itertools
import threading
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Self

from tests.faults.collector import free_port

_END: Final = b"\r\n\r\n"
_NOBODY: Final = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Proxy:
    """Passes requests on, from a thread of its own; where one collector is dead, the next one gets it."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports
        self._turns = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = free_port()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Does something in the proxy's thread, and returns when it is done."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def deliver(self, request: bytes) -> bytes | None:
        """The answer to a request, None where its sender shall get none."""
        first = next(self._turns)
        for turn in range(len(self._ports)):
            answer = await self.ask(self._ports[(first + turn) % len(self._ports)], request)
            if answer:
                return answer
        return _NOBODY

    async def ask(self, port: int, request: bytes) -> bytes:
        """What a collector answers, nothing where it is dead or dies."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return b""
        try:
            writer.write(request)
            await writer.drain()
            return await reader.read(-1)
        except OSError:
            return b""
        finally:
            writer.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.note(asyncio.current_task())
        try:
            answer = await self.deliver(await _read(reader))
            if answer is not None:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # whoever asked is gone
        finally:
            writer.close()

    def note(self, task: asyncio.Task[Any] | None) -> None:
        """Keeps a task, which ends with the proxy at the latest."""
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


async def _read(reader: asyncio.StreamReader) -> bytes:
    """A whole request, its connection to be closed after it."""
    head = (await reader.readuntil(_END))[: -len(_END)]
    lines = [one for one in head.split(b"\r\n") if not one.lower().startswith(b"connection:")]
    lengths = [int(one.split(b":")[1]) for one in lines if one.lower().startswith(b"content-length:")]
    body = await reader.readexactly(sum(lengths))
    return b"\r\n".join((*lines, b"Connection: close")) + _END + body
