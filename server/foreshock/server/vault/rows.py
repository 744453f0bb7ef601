"""Rows on their way from one database to another: in slices of bounded size, in the order of their keys.

Every key begins with the run, so a table goes run by run. What arrived is compared by a sum over each
run's rows, which needs no order: two engines may sort text differently.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa

# A slice ends with the first of both; it is one transaction at the target
SLICE_ROWS: Final = 2000
SLICE_BYTES: Final = 8 * 2**20

Row = dict[str, Any]
Key = list[str | int]
# Of each run: how many rows, and their sum
Digest = dict[str, tuple[int, int]]


def count_rows(connection: sa.Connection, table: sa.Table) -> int:
    """How many rows a table has."""
    return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def read_slices(connection: sa.Connection, table: sa.Table, after: Key | None) -> Iterator[list[Row]]:
    """All rows behind a key, in slices."""
    key = list(table.primary_key)
    query = sa.select(table).order_by(*key)
    if after is not None:
        query = query.where(sa.tuple_(*key) > tuple(after))
    rows: list[Row] = []
    num_bytes = 0
    for found in connection.execute(query.execution_options(yield_per=16)).mappings():
        rows.append(dict(found))
        num_bytes += sum(len(value) for value in found.values() if isinstance(value, bytes))
        if len(rows) >= SLICE_ROWS or num_bytes >= SLICE_BYTES:
            yield rows
            rows, num_bytes = [], 0
    if rows:
        yield rows


def key_of(table: sa.Table, row: Row) -> Key:
    """A row's key, as JSON can hold it."""
    return [row[column.name] for column in table.primary_key]


def digest(connection: sa.Connection, table: sa.Table) -> Digest:
    """What a table holds of each run; of tables without a run under ""."""
    found: Digest = {}
    for rows in read_slices(connection, table, None):
        for row in rows:
            run_id = str(row.get("run_id", ""))
            count, total = found.get(run_id, (0, 0))
            found[run_id] = count + 1, (total + _digest_row(list(row.values()))) % 2**64
    return found


def _digest_row(values: Sequence[Any]) -> int:
    packed = msgspec.msgpack.encode([_plain(value) for value in values])
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "big")


def _plain(value: Any) -> Any:
    """A value as both engines hold it: SQLite has neither NaN, which it stores as none, nor -0.0."""
    if isinstance(value, float):
        return None if math.isnan(value) else value + 0.0
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    return value
