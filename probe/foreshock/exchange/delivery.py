"""From staged streams to the collector's log: declared, numbered, sent once however often it is tried.

What is sent follows from the content alone, record by record, so that a collector which has some of it
says from which record to go on, and one which has all of it takes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from foreshock.exchange.errors import TakenError
from foreshock.exchange.staging import Place, Staging
from foreshock.exchange.streams import Attempt, Stream
from foreshock.query.connection import Connection
from foreshock.query.errors import ProblemError
from foreshock.wire import (
    CONTENT_TYPE,
    WIRE_VERSION,
    AppendAnswer,
    Body,
    Event,
    Layout,
    Record,
    RunDeclaration,
    RunHandle,
    encode_body,
    encode_record,
    make_batch,
)

# A record of 16 MiB unpacked, a body of 2 MiB packed and some 32 MiB unpacked: far within the wire's limits
_MAX_BATCH_VALUES: Final = 2**22
_MAX_BODY_BYTES: Final = 2**21
_MAX_BODY_VALUES: Final = 2**23
_MAX_BODY_RECORDS: Final = 256


@dataclass(frozen=True, slots=True)
class Ending:
    """What becomes of an attempt: an event's kind and detail."""

    kind: str
    detail: dict[str, str | int | float | bool | None]


@dataclass(slots=True)
class Receipt:
    """How much of an import was sent, and how much was there already, in records."""

    num_sent: int = 0
    num_known: int = 0
    page: str = ""


@dataclass(slots=True)
class _Outgoing:
    """An attempt on its way: what the collector has of it, what is to be sent next, what has gathered."""

    attempt: Attempt
    ending: Ending
    known: int
    sequence: int = 0
    records: list[bytes] = field(default_factory=list)
    num_bytes: int = 0
    num_values: int = 0


@dataclass(frozen=True, slots=True, order=True)
class _Parcel:
    """A block in the order of sending: ranks abreast; of one flush the main stream last."""

    first_step: int
    rank: int
    flush: int
    is_main: bool
    number: int
    place: Place = field(compare=False)


class Delivery:
    """Sends the attempts of one run."""

    def __init__(
        self,
        connection: Connection,
        declaration: RunDeclaration,
        staging: Staging,
        on_sent: Callable[[int], None] = lambda num_bytes: None,
    ) -> None:
        self._connection, self._declaration, self._staging = connection, declaration, staging
        self._on_sent = on_sent
        self._receipt = Receipt()

    def deliver(self, attempts: list[Attempt], ending: Ending) -> Receipt:
        """Sends what the collector lacks. Raises TakenError where it holds something else under this id."""
        by_number: dict[int, list[Attempt]] = {}
        for attempt in sorted(attempts, key=lambda attempt: (attempt.number, attempt.rank)):
            by_number.setdefault(attempt.number, []).append(attempt)
        last = {attempt.rank: attempt.number for attempt in attempts}
        for abreast in by_number.values():
            outgoing = {}
            for attempt in abreast:
                is_last = attempt.number == last[attempt.rank]
                end = ending if is_last else Ending("rollback", {"back_to_step": attempt.back_to_step})
                outgoing[attempt.rank] = _Outgoing(attempt, end, self._declare(attempt))
            self._send_abreast(outgoing)
        return self._receipt

    def _declare(self, attempt: Attempt) -> int:
        declaration = msgspec.structs.replace(self._declaration, rank=attempt.rank, attempt=attempt.number)
        content = msgspec.json.encode(declaration)
        try:
            handle = self._connection.post("/runs", content, "application/json", RunHandle)
        except ProblemError as error:
            if error.code != "attempt-taken":
                raise
            raise TakenError(
                f"run {declaration.run_id} already holds something else (another import, or what a probe "
                "has written): choose another --run-id, or none, which names it by its content"
            ) from error
        self._receipt.page = handle.page
        return handle.next_sequence

    def _send_abreast(self, outgoing: dict[int, _Outgoing]) -> None:
        for one in outgoing.values():
            for number, stream in enumerate(one.attempt.streams):
                name = "step" if stream is one.attempt.main_stream() else f"import-{number}"
                self._take(one, Layout(one.sequence, number, name, tuple(stream.columns)), 0)
        current: _Outgoing | None = None
        for parcel in _in_order(outgoing):
            one = outgoing[parcel.rank]
            if current is not None and one is not current:
                self._send(current)
            current = one
            for record, num_values in self._batches(one, one.attempt.streams[parcel.number], parcel):
                self._take(one, record, num_values)
            self._on_sent(parcel.place.num_bytes)
        for one in outgoing.values():
            attempt, ending = one.attempt, one.ending
            end = Event(one.sequence, attempt.last_step, attempt.last_time, ending.kind, ending.detail)
            self._take(one, end, 0)
            self._send(one)

    def _batches(self, one: _Outgoing, stream: Stream, parcel: _Parcel) -> Iterator[tuple[Record, int]]:
        block = self._staging.get(parcel.place).widened(len(stream.columns))
        num_rows = max(1, _MAX_BATCH_VALUES // len(stream.columns))
        for start in range(0, len(block.steps), num_rows):
            part = slice(start, start + num_rows)
            values_KC = block.values_KC[part]
            yield (
                make_batch(one.sequence, parcel.number, block.steps[part], block.times[part], values_KC),
                values_KC.size,
            )

    def _take(self, one: _Outgoing, record: Record, num_values: int) -> None:
        """The next record of an attempt: into the body that gathers, unless the collector has it."""
        one.sequence += 1
        if record.sequence < one.known:
            self._receipt.num_known += 1
            return
        data = encode_record(record)
        one.records.append(data)
        one.num_bytes += len(data)
        one.num_values += num_values
        if (
            one.num_bytes >= _MAX_BODY_BYTES
            or one.num_values >= _MAX_BODY_VALUES
            or len(one.records) >= _MAX_BODY_RECORDS
        ):
            self._send(one)

    def _send(self, one: _Outgoing) -> None:
        if not one.records:
            return
        body = Body(
            version=WIRE_VERSION,
            run_id=self._declaration.run_id,
            rank=one.attempt.rank,
            attempt=one.attempt.number,
            session=self._declaration.session,
            last_alert=2**31 - 1,
            records=one.records,
        )
        path = f"/runs/{self._declaration.run_id}/append"
        answer = self._connection.post(path, encode_body(body), CONTENT_TYPE, AppendAnswer)
        self._receipt.num_sent += len(one.records) - answer.num_duplicates
        self._receipt.num_known += answer.num_duplicates
        one.records, one.num_bytes, one.num_values = [], 0, 0


def _in_order(outgoing: dict[int, _Outgoing]) -> list[_Parcel]:
    parcels = []
    for rank, one in outgoing.items():
        main, begun = one.attempt.main_stream(), -1
        flushes: dict[int, list[tuple[int, Stream, Place]]] = {}
        for number, stream in enumerate(one.attempt.streams):
            for flush, place in stream.places:
                flushes.setdefault(flush, []).append((number, stream, place))
        for flush in sorted(flushes):
            # Never before the flush that came before it, whatever its steps: streams must rise
            begun = max(begun, min(place.first_step for _, _, place in flushes[flush]))
            for number, stream, place in flushes[flush]:
                parcels.append(_Parcel(begun, rank, flush, stream is main, number, place))
    return sorted(parcels)
