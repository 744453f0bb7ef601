"""Checks a run's log: every record readable, in its place, counted by its cursor, none missing."""

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from foreshock.server.store.layouts import unpack_names
from foreshock.server.store.schema import compactions, cursors, layouts, records
from foreshock.server.vault.fault import Fault
from foreshock.wire import (
    Batch,
    Event,
    Layout,
    Record,
    Tombstone,
    WireError,
    batch_steps,
    batch_times,
    batch_values,
    decode_record,
)

# Rank and attempt
Writer = tuple[int, int]


def check_log(connection: sa.Connection, run_id: str) -> Iterator[Fault]:
    """The faults in a run's cursors and records, read one after the other."""
    next_sequences = _next_sequences(connection, run_id)
    streams = _Streams.read(connection, run_id)
    query = sa.select(records).where(records.c.run_id == run_id)
    order = (records.c.rank, records.c.attempt, records.c.sequence)
    writer: Writer | None = None
    expected = 0
    for row in connection.execute(query.order_by(*order).execution_options(yield_per=16)):
        if (row.rank, row.attempt) != writer:
            if writer is not None:
                yield from _check_end(run_id, writer, expected, next_sequences, streams)
            writer, expected = (row.rank, row.attempt), 0
        place = f"record {row.sequence} of rank {row.rank}, attempt {row.attempt}"
        if row.sequence > expected and writer not in streams.compacted:
            yield Fault(run_id, f"records {expected} to {row.sequence - 1} before {place} are missing")
        try:
            record = decode_record(row.body)
        except WireError as error:
            yield Fault(run_id, f"{place} cannot be read ({error})")
            expected = row.sequence + 1
            continue
        for what in _misfits(row, record, streams):
            yield Fault(run_id, f"{place} {what}")
        last = record.last_sequence if isinstance(record, Tombstone) else row.sequence
        expected = max(expected, last + 1)
    if writer is not None:
        yield from _check_end(run_id, writer, expected, next_sequences, streams)
    for missing in next_sequences:
        if next_sequences[missing]:
            yield Fault(run_id, f"rank {missing[0]}, attempt {missing[1]} has a cursor but no record at all")


class _Streams:
    """Of each declared layout its number of columns and how far it is in chunks."""

    def __init__(self, columns: Mapping[tuple[int, int, int], int], upto: Mapping[tuple[int, int, int], int]):
        self.columns = columns
        self.upto = upto
        self.compacted: set[Writer] = {key[:2] for key in upto}

    @classmethod
    def read(cls, connection: sa.Connection, run_id: str) -> "_Streams":
        declared = sa.select(layouts.c.rank, layouts.c.attempt, layouts.c.layout_id, layouts.c.columns)
        of_chunks = (compactions.c.rank, compactions.c.attempt, compactions.c.layout_id)
        reached = sa.select(*of_chunks, compactions.c.upto_step).where(compactions.c.run_id == run_id)
        return cls(
            {
                (row.rank, row.attempt, row.layout_id): len(unpack_names(row.columns))
                for row in connection.execute(declared.where(layouts.c.run_id == run_id))
            },
            {(row.rank, row.attempt, row.layout_id): row.upto_step for row in connection.execute(reached)},
        )


def _next_sequences(connection: sa.Connection, run_id: str) -> dict[Writer, int]:
    query = sa.select(cursors.c.rank, cursors.c.attempt, cursors.c.next_sequence)
    found = connection.execute(query.where(cursors.c.run_id == run_id))
    return {(row.rank, row.attempt): row.next_sequence for row in found}


def _check_end(
    run_id: str, writer: Writer, expected: int, next_sequences: dict[Writer, int], streams: _Streams
) -> Iterator[Fault]:
    """What is stored ends where the cursor stands."""
    whose = f"of rank {writer[0]}, attempt {writer[1]}"
    next_sequence = next_sequences.pop(writer, None)
    if next_sequence is None:
        yield Fault(run_id, f"the records {whose} have no cursor")
    elif next_sequence < expected:
        yield Fault(
            run_id, f"the cursor {whose} stands at {next_sequence}, but record {expected - 1} is there"
        )
    elif next_sequence > expected and writer not in streams.compacted:
        yield Fault(run_id, f"records {expected} to {next_sequence - 1} {whose} are missing")


def _misfits(row: sa.Row[Any], record: Record, streams: _Streams) -> Iterator[str]:
    """Where a record is not what its row says."""
    if record.sequence > row.sequence or (
        not isinstance(record, Tombstone) and record.sequence != row.sequence
    ):
        yield f"is record {record.sequence} inside"
    kind = type(record).__name__.lower()
    if kind != row.kind:
        yield f"is a {kind}, not a {row.kind}"
    if isinstance(record, Batch):
        yield from _batch_misfits(row, record, streams)
    elif isinstance(record, Event) and record.step != row.first_step:
        yield f"is of step {record.step}, not {row.first_step}"
    elif isinstance(record, Layout):
        if streams.columns.get((row.rank, row.attempt, record.layout_id)) != len(record.columns):
            yield f"declares layout {record.layout_id} otherwise than it is kept"


def _batch_misfits(row: sa.Row[Any], record: Batch, streams: _Streams) -> Iterator[str]:
    address = (row.rank, row.attempt, record.layout_id)
    try:
        steps, num_columns = batch_steps(record), len(batch_values(record))
        batch_times(record)
    except (WireError, ValueError) as error:
        yield f"cannot be unpacked ({error})"
        return
    if (record.layout_id, int(steps[0]), int(steps[-1])) != (row.layout_id, row.first_step, row.last_step):
        yield f"holds steps {steps[0]} to {steps[-1]}, not {row.first_step} to {row.last_step}"
    if (steps[1:] <= steps[:-1]).any():
        yield "has steps that do not rise"
    if num_columns != streams.columns.get(address):
        yield f"has {num_columns} columns, its layout {record.layout_id} has {streams.columns.get(address)}"
    if row.last_step <= streams.upto.get(address, -1):
        yield f"is in chunks up to step {streams.upto[address]} as well"
