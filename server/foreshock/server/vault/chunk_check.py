"""Checks a run's chunks and envelopes: every byte, every step, every cell made anew and compared."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np
import sqlalchemy as sa
import zstandard

from foreshock.server.store.cells import Cells
from foreshock.server.store.chunks import (
    PART_COLUMNS,
    WINDOW_CELLS,
    checksum,
    pack_cells,
    unpack_cells,
    unpack_columns,
    unpack_steps,
    unpack_times,
)
from foreshock.server.store.layouts import unpack_names
from foreshock.server.store.schema import chunks, compactions, envelopes, layouts
from foreshock.server.vault.fault import Fault
from foreshock.wire import is_missing

Address = tuple[int, int, int]
_STREAM = ("rank", "attempt", "layout_id")
_WINDOW = (*_STREAM, "first_step", "part")
# Another processor may add up in another order: the last bit of a mean is its own
_RELATIVE = 1e-6


def check_chunks(connection: sa.Connection, run_id: str) -> Iterator[Fault]:
    """The faults in a run's chunks, window by window, and in how far its streams are in chunks."""
    widths = _widths(connection, run_id)
    reached = {
        tuple(row[:3]): row
        for row in connection.execute(
            sa.select(
                *(compactions.c[name] for name in _STREAM), compactions.c.upto_step, compactions.c.num_points
            ).where(compactions.c.run_id == run_id)
        )
    }
    for address, rows in groupby(
        _rows(connection, run_id), key=lambda row: (row.rank, row.attempt, row.layout_id)
    ):
        stream = "layout {2} of rank {0}, attempt {1}".format(*address)
        told = reached.pop(address, None)
        if told is None or address not in widths:
            yield Fault(run_id, f"{stream} has chunks, but nothing says how far they go")
            continue
        last_step, num_points = -1, 0
        for first_step, window in groupby(rows, key=lambda row: row.first_step):
            place = f"the window at step {first_step} of {stream}"
            if first_step <= last_step:
                yield Fault(run_id, f"{place} begins before the last one ends, at step {last_step}")
            parts = 0
            for row in window:
                for what in _misfits(row, parts, widths[address]):
                    yield Fault(run_id, f"part {row.part} of {place} {what}")
                last_step, num_steps, parts = row.last_step, row.num_steps or 0, parts + 1
            num_points += num_steps * widths[address]
            if parts != -(-widths[address] // PART_COLUMNS):
                yield Fault(run_id, f"{place} has {parts} parts for {widths[address]} columns")
        if (last_step, num_points) != (told.upto_step, told.num_points):
            yield Fault(
                run_id,
                f"{stream} should have {told.num_points} points in chunks up to step {told.upto_step}, but "
                f"has {num_points} up to step {last_step}",
            )
    for address, told in reached.items():
        if told.upto_step >= 0:
            stream = "layout {2} of rank {0}, attempt {1}".format(*address)
            yield Fault(run_id, f"{stream} should have chunks up to step {told.upto_step}, but has none")


def _widths(connection: sa.Connection, run_id: str) -> dict[Address, int]:
    query = sa.select(*(layouts.c[name] for name in _STREAM), layouts.c.columns)
    found = connection.execute(query.where(layouts.c.run_id == run_id))
    return {(row.rank, row.attempt, row.layout_id): len(unpack_names(row.columns)) for row in found}


def _rows(connection: sa.Connection, run_id: str) -> sa.CursorResult[Any]:
    """Each chunk beside its envelope; one without the other has empty columns in its place."""
    same = sa.and_(*(chunks.c[name] == envelopes.c[name] for name in ("run_id", *_WINDOW)))
    told = (
        sa.select(
            *(chunks.c[name] for name in _WINDOW),
            *(chunks.c[name] for name in ("last_step", "cell_width", "num_steps")),
            *(chunks.c[name] for name in ("steps", "times", "body", "checksum")),
            *(envelopes.c[name] for name in ("summary", "cells")),
            envelopes.c.checksum.label("envelope_checksum"),
            envelopes.c.last_step.label("envelope_last_step"),
            envelopes.c.cell_width.label("envelope_cell_width"),
        )
        .select_from(chunks.outerjoin(envelopes, same))
        .where(chunks.c.run_id == run_id)
        .order_by(*(chunks.c[name] for name in _WINDOW))
    )
    return connection.execute(told.execution_options(yield_per=16))


def lonely_envelopes(connection: sa.Connection, run_id: str) -> Iterator[Fault]:
    """Envelopes without their chunk."""
    same = sa.and_(*(chunks.c[name] == envelopes.c[name] for name in ("run_id", *_WINDOW)))
    query = (
        sa.select(*(envelopes.c[name] for name in _WINDOW))
        .select_from(envelopes.outerjoin(chunks, same))
        .where(envelopes.c.run_id == run_id, chunks.c.run_id.is_(None))
        .order_by(*(envelopes.c[name] for name in _WINDOW))
    )
    for row in connection.execute(query):
        yield Fault(
            run_id,
            f"part {row.part} of the window at step {row.first_step} of layout {row.layout_id} of rank "
            f"{row.rank}, attempt {row.attempt} has an envelope but no chunk",
        )


def _misfits(row: sa.Row[Any], part: int, width: int) -> Iterator[str]:
    """Where a chunk or its envelope is not what was written."""
    if row.part != part:
        yield f"stands where part {part} should"
    if checksum(row.steps, row.times, row.body) != row.checksum:
        yield "has another checksum than its bytes"
        return
    if row.envelope_checksum is None:
        yield "has no envelope"
        return
    if checksum(row.summary, row.cells) != row.envelope_checksum:
        yield "has an envelope of another checksum than its bytes"
        return
    try:
        yield from _content_misfits(row, min(PART_COLUMNS, width - PART_COLUMNS * row.part))
    except (zstandard.ZstdError, ValueError, IndexError) as error:
        yield f"cannot be unpacked ({error})"


def _content_misfits(row: sa.Row[Any], num_columns: int) -> Iterator[str]:
    steps = unpack_steps(row.steps)
    if (len(steps), int(steps[0]), int(steps[-1])) != (row.num_steps, row.first_step, row.last_step):
        yield f"holds steps {steps[0]} to {steps[-1]}, not {row.first_step} to {row.last_step}"
        return
    if (np.diff(steps) <= 0).any():
        yield "has steps that do not rise"
    if (row.times is None) != (row.part > 0) or (
        row.times is not None and len(unpack_times(row.times)) != len(steps)
    ):
        yield "has not one time for each step"
    values = unpack_columns(row.body, num_columns, range(num_columns), len(steps))
    if (row.envelope_last_step, row.envelope_cell_width) != (row.last_step, row.cell_width):
        yield "has an envelope of another window"
    cells = Cells.of(steps, values, ~is_missing(values), row.cell_width)
    compressor, places = zstandard.ZstdCompressor(), range(num_columns)
    for name, wanted in (("cells", cells), ("summary", cells.widen(WINDOW_CELLS * row.cell_width))):
        stored = unpack_cells(getattr(row, name), places)
        if not _agree(stored, unpack_cells(pack_cells(wanted, compressor), places)):
            yield f"has an envelope whose {name} differ from its values"


def _agree(one: Cells, other: Cells) -> bool:
    for name in one.__dataclass_fields__:
        ours, theirs = getattr(one, name), getattr(other, name)
        tolerance = _RELATIVE if name == "mean" else 0.0
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, tolerance, 0.0, equal_nan=True):
            return False
    return True
