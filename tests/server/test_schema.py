"""The schema as a distributed engine needs it: every row and every key belongs to one run."""

import pytest
import sqlalchemy as sa

from foreshock.server.store.schema import REFERENCE, metadata

OF_RUNS = [table for table in metadata.sorted_tables if table.name not in REFERENCE]
# Indexes that lists across runs use: no constraint, so each node has its own
ACROSS_RUNS = {
    ("runs", ("project", "started_at")),
    ("alerts", ("state", "updated_at")),
    ("outbox", ("delivered_at", "next_try_at")),
}


@pytest.mark.parametrize("table", OF_RUNS, ids=lambda table: table.name)
def test_every_key_begins_with_the_run(table: sa.Table) -> None:
    assert next(column.name for column in table.primary_key) == "run_id"
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            assert next(column.name for column in constraint.columns) == "run_id"
    assert not table.foreign_keys  # a row is stored where its run is, and needs no other to be


@pytest.mark.parametrize("table", OF_RUNS, ids=lambda table: table.name)
def test_every_index_begins_with_the_run_or_serves_lists_across_runs(table: sa.Table) -> None:
    for index in table.indexes:
        names = tuple(column.name for column in index.columns)
        assert not index.unique or names[0] == "run_id"
        assert names[0] == "run_id" or (table.name, names) in ACROSS_RUNS


def test_reference_tables_know_no_run() -> None:
    for name in REFERENCE:
        assert "run_id" not in metadata.tables[name].columns
