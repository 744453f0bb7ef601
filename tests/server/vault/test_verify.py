"""What verify finds: each kind of damage, named; and nothing where nothing is wrong."""

import contextlib
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.server.vault.conftest import fill
from typer.testing import CliRunner

from foreshock.server.db_commands import db
from foreshock.server.store.chunks import checksum
from foreshock.server.store.engine import PAGE_BYTES, open_database, writing
from foreshock.server.store.schema import chunks, compactions, cursors, envelopes, layouts, records
from foreshock.server.vault.verify import verify

BACKENDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
Damage = Callable[[sa.Connection], object]


@pytest.mark.parametrize("backend", BACKENDS, indirect=True)
def test_a_sound_database_has_no_faults(filled: str) -> None:
    with open_database(filled):  # as beside a collector
        assert list(verify(filled)) == []


def flipped(connection: sa.Connection, table: sa.Table, name: str, *, sealed: bool) -> None:
    """Changes one byte in the middle of the first row's blob; `sealed`: with a checksum that fits."""
    key = list(table.primary_key)
    row = connection.execute(sa.select(table).where(table.c[name].is_not(None)).order_by(*key)).first()
    assert row is not None
    blobs = {
        one: row._mapping[one] for one in ("steps", "times", "body", "summary", "cells") if one in table.c
    }
    damaged = bytearray(row._mapping[name])
    damaged[len(damaged) // 2] ^= 0x10
    blobs[name] = bytes(damaged)
    values: dict[str, object] = {name: blobs[name]}
    if sealed:
        values["checksum"] = checksum(*blobs.values())
    here = [column == row._mapping[column.name] for column in key]
    connection.execute(sa.update(table).where(*here).values(values))


def first_record(*where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    least = sa.select(sa.func.min(records.c.sequence)).where(records.c.run_id == "run-0", *where)
    of_writer = (records.c.run_id == "run-0", records.c.rank == 0, records.c.attempt == 1)
    return sa.and_(*of_writer, records.c.sequence == least.scalar_subquery(), *where)


REACHED = {
    **{"run_id": "run-0", "rank": 0, "attempt": 1, "layout_id": 0},
    **{"upto_step": 9, "cell_width": 64, "num_points": 0, "num_bytes": 0},
}
DAMAGES: list[tuple[Damage, str]] = [
    (lambda c: flipped(c, chunks, "body", sealed=False), "has another checksum than its bytes"),
    (lambda c: flipped(c, chunks, "body", sealed=True), "(cannot be unpacked|differ from its values)"),
    (lambda c: flipped(c, chunks, "times", sealed=False), "has another checksum"),
    (lambda c: flipped(c, envelopes, "cells", sealed=False), "envelope of another checksum"),
    (lambda c: flipped(c, envelopes, "summary", sealed=False), "envelope of another checksum"),
    (lambda c: c.execute(sa.update(chunks).values(num_steps=chunks.c.num_steps + 1)), "holds steps"),
    (lambda c: c.execute(sa.update(envelopes).values(cell_width=128)), "an envelope of another window"),
    (lambda c: c.execute(sa.delete(envelopes).where(envelopes.c.part == 1)), "has no envelope"),
    (lambda c: c.execute(sa.delete(chunks).where(chunks.c.part == 1)), "has an envelope but no chunk"),
    (lambda c: c.execute(sa.delete(chunks).where(chunks.c.first_step == 0)), "should have .* points"),
    (lambda c: c.execute(sa.delete(chunks)), "should have chunks up to step"),
    (lambda c: c.execute(sa.delete(compactions)), "nothing says how far they go"),
    (lambda c: c.execute(sa.update(compactions).values(upto_step=1, num_points=0)), "but has"),
    (lambda c: c.execute(sa.insert(compactions).values(REACHED)), "is in chunks up to step 9 as well"),
    (lambda c: c.execute(sa.update(records).where(first_record()).values(body=b"\x00")), "cannot be read"),
    (lambda c: c.execute(sa.delete(records).where(first_record())), "before record 1 of rank 0, attempt 1"),
    (lambda c: c.execute(sa.update(layouts).values(columns=b"torn")), "cannot be read further"),
    (
        lambda c: c.execute(sa.update(records).where(first_record()).values(kind="batch")),
        "is a layout, not a batch",
    ),
    (
        lambda c: c.execute(sa.update(records).where(records.c.kind == "batch").values(last_step=10**7)),
        "holds steps",
    ),
    (lambda c: c.execute(sa.update(cursors).values(next_sequence=1)), "the cursor of rank .* stands at 1"),
    (
        lambda c: c.execute(sa.update(cursors).where(cursors.c.attempt == 1).values(next_sequence=99)),
        "records .* to 98 of rank 0, attempt 1 are missing",
    ),
    (lambda c: c.execute(sa.delete(cursors)), "have no cursor"),
    (lambda c: c.execute(sa.delete(records)), "has a cursor but no record"),
    (lambda c: c.execute(sa.delete(layouts)), "nothing says how far they go"),
    (
        lambda c: c.execute(sa.update(cursors).where(cursors.c.run_id == "run-1").values(run_id="run-9")),
        "cursors has 3 rows of a run that was never declared",
    ),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("original") / "a.db"
    fill(str(path), num_runs=2)
    return path


@pytest.fixture
def filled_copy(original: Path, tmp_path: Path) -> str:
    return str(shutil.copy(original, tmp_path / "a.db"))


def test_a_torn_file_is_told(filled_copy: str) -> None:
    path = Path(filled_copy)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # A page that is in use: tearing a free one harms nothing
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'chunks'"
        ((page,),) = connection.execute(query).fetchall()
    content = bytearray(path.read_bytes())
    start = (page - 1) * PAGE_BYTES
    content[start : start + 16] = b"\xff" * 16
    path.write_bytes(bytes(content))
    result = CliRunner().invoke(db, ["verify", "--db", filled_copy])
    assert result.exit_code == 1 and "malformed" in result.stdout, result.output


@pytest.mark.parametrize("number", range(len(DAMAGES)))
def test_every_kind_of_damage_is_named(filled_copy: str, number: int) -> None:
    damage, words = DAMAGES[number]
    with open_database(filled_copy) as database, writing(database.engine) as connection:
        damage(connection)
    result = CliRunner().invoke(db, ["verify", "--db", filled_copy, "--json"])
    faults = json.loads(result.stdout)["faults"]
    assert result.exit_code == 1 and faults
    assert any(re.search(words, fault["what"]) for fault in faults), faults[:5]
    for fault in faults:
        assert fault["run_id"].startswith("run-") and fault["advice"]
