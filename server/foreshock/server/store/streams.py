"""The streams of an attempt: what was declared, how far it came, how much of it is in chunks."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from foreshock.server.store.layouts import unpack_names
from foreshock.server.store.schema import compactions, layouts, records

# What addresses a stream, in every table of streams
STREAM_KEY: Final = ("run_id", "rank", "attempt", "layout_id")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A stream's address: the writer and its layout."""

    run_id: str
    rank: int
    attempt: int
    layout_id: int


@dataclass(frozen=True, slots=True)
class Stream:
    """One declared layout: its address, its columns' places, its steps.

    Steps up to `upto_step` are in chunks, in cells of at most `cell_width`; those after it in the log.
    """

    source: Source
    name: str
    places: dict[str, int]
    first_step: int
    last_step: int
    upto_step: int
    cell_width: int


_SAME: sa.ColumnElement[bool] = sa.and_(*(compactions.c[name] == layouts.c[name] for name in STREAM_KEY))


def read_streams(connection: sa.Connection, run_id: str, attempt: int) -> list[Stream]:
    """All streams of an attempt that have a step, by rank and layout."""
    query = (
        sa.select(
            layouts.c.rank,
            layouts.c.layout_id,
            layouts.c.stream,
            layouts.c.columns,
            layouts.c.first_step,
            layouts.c.last_step,
            sa.func.coalesce(compactions.c.upto_step, -1).label("upto_step"),
            sa.func.coalesce(compactions.c.cell_width, 1).label("cell_width"),
        )
        .select_from(layouts.outerjoin(compactions, _SAME))
        .where(layouts.c.run_id == run_id, layouts.c.attempt == attempt)
        .order_by(layouts.c.rank, layouts.c.layout_id)
    )
    return [
        Stream(
            Source(run_id, row.rank, attempt, row.layout_id),
            row.stream,
            {name: place for place, name in enumerate(unpack_names(row.columns))},
            row.first_step,
            row.last_step,
            row.upto_step,
            row.cell_width,
        )
        for row in connection.execute(query)
    ]


def at_source(table: sa.Table, source: Source) -> tuple[sa.ColumnElement[bool], ...]:
    """The rows of a stream in a table of streams."""
    return tuple(table.c[name] == getattr(source, name) for name in STREAM_KEY)


def in_log(source: Source) -> tuple[sa.ColumnElement[bool], ...]:
    """The records that are a stream's batches."""
    return (*at_source(records, source), records.c.kind == "batch")
