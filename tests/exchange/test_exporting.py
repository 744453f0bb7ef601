"""Exports: every bit of a run, in tables that read back as the same run."""

import csv
import io
import json
import math
import os
import subprocess
import sys
import uuid
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.exchange.conftest import Command
from tests.server.conftest import Writer

from foreshock.exchange import exporting, merging
from foreshock.exchange.merging import Part, Staged, merge
from foreshock.exchange.staging import Block, Staging
from foreshock.query import Client
from foreshock.query.connection import Connection
from foreshock.wire import MISSING, is_missing

AWKWARD = [-0.0, 0.0, math.inf, -math.inf, 1e-45, -1.1754942e-38, 3.4028235e38, 0.1, 16777217.0, 1 / 3]


@pytest.fixture
def two_ranks(connection: Connection) -> str:
    """Two ranks, each with a stream of every step and one of every fourth that begins later."""
    run_id = f"ranks-{uuid.uuid4().hex[:8]}"
    with httpx.Client(base_url=connection.url) as http:
        for rank in range(2):
            writer = Writer(http, run_id, rank=rank)
            writer.start("loss", "odd[7]", project="exports")
            rows = np.array([[step + rank / 8, AWKWARD[step % 10]] for step in range(40)], np.float32)
            rows[np.arange(40) % 3 > 0, 0] = MISSING
            answer = writer.send(
                writer.layout("slow", "step", layout_id=1, stream="slow"),
                writer.batch(range(8, 40, 4), [[np.nan, step] for step in range(8)], layout_id=1),
                writer.batch(range(20), rows[:20]),
                writer.batch(range(20, 40), rows[20:]),
                writer.event("finished", 39),
            )
            assert answer.status_code == 200, answer.text
    return run_id


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_what_goes_out_comes_in_and_goes_out_again_bit_for_bit(
    form: str, two_ranks: str, foreshock: Command, connection: Connection, tmp_path: Path
) -> None:
    first, second = tmp_path / f"first.{form}", tmp_path / f"second.{form}"
    told = foreshock("export", two_ranks, "--format", form, "--out", first, "--json")
    assert told.status == 0, told.err
    exported = json.loads(told.out)
    assert (exported["rows"], exported["ranks"], exported["columns"]) == (80, 2, 4)
    assert exported["values"] == 2 * (14 + 40 + 16)
    assert "the series 'step' is written as series:step" in told.err
    [run] = foreshock("import", first, "--json").runs
    assert (run["rows"], run["ranks"], run["values"]) == (80, 2, exported["values"])
    again = foreshock("export", run["run_id"], "--out", second)
    assert again.status == 0, again.err
    assert content_of(first) == content_of(second)
    client = Client(connection.url)
    for column, there in {"loss": "loss", "odd[7]": "odd[7]", "slow": "slow", "step": "series:step"}.items():
        sent = client.run(two_ranks).values_by_rank(column)
        came = client.run(run["run_id"]).values_by_rank(there)
        assert sent.keys() == came.keys() == {0, 1}
        for rank in (0, 1):
            assert sent[rank].steps.tolist() == came[rank].steps.tolist()
            assert sent[rank].values.view(np.uint32).tolist() == came[rank].values.view(np.uint32).tolist()
    client.close()


def content_of(path: Path) -> object:
    """The bytes, or of Parquet what they say, columns by name."""
    if path.suffix != ".parquet":
        rows = csv.DictReader(io.StringIO(path.read_text())) if path.suffix == ".csv" else None
        if rows is not None:
            return [dict(sorted(row.items())) for row in rows]
        return [dict(sorted(json.loads(line).items())) for line in path.read_text().splitlines()]
    from pyarrow import parquet

    table = parquet.read_table(path)
    found = {name: table.column(name).to_pylist() for name in sorted(table.column_names)}
    return {name: list(map(repr, values)) for name, values in found.items()}


def test_tables_tell_what_is_absent_from_nan(two_ranks: str, foreshock: Command, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    told = foreshock("export", two_ranks, "--format", "csv", "--out", "-", "--rank", "1", "--stop", "8")
    rows = list(csv.DictReader(io.StringIO(told.out)))
    assert [row["rank"] for row in rows] == ["1"] * 9 and [row["step"] for row in rows] == list("012345678")
    assert (rows[7]["slow"], rows[8]["slow"]) == ("", "NaN")
    assert (rows[0]["loss"], rows[1]["loss"], rows[3]["loss"]) == ("0.125", "", "3.125")
    assert [rows[step]["odd[7]"] for step in (0, 2, 3, 4)] == ["-0.0", "inf", "-inf", "1e-45"]
    told = foreshock("export", two_ranks, "--format", "jsonl", "--out", "-", "--start", "8", "--rank", "0")
    lines = [json.loads(line) for line in told.out.splitlines()]
    assert lines[0]["slow"] == "NaN" and "slow" not in lines[1] and lines[4]["odd[7]"] == "Infinity"
    assert foreshock("export", two_ranks, "--out", tmp_path / "a.parquet").status == 0
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.schema.field("loss").type == pyarrow.float32()
    slow = table.column("slow").to_pylist()
    assert slow[7] is None and math.isnan(slow[8]) and table.column("slow").null_count == 64


def test_columns_and_attempts_are_chosen(foreshock: Command, connection: Connection) -> None:
    with httpx.Client(base_url=connection.url) as http:
        Writer(http, "attempts").start("loss", "b")
        for attempt in (0, 1):
            writer = Writer(http, "attempts", attempt=attempt, session=f"session-{attempt or 1}")
            writer.next_sequence = 0 if attempt else 1
            if attempt:
                writer.start("loss", "b")
            assert writer.send(writer.batch([attempt, 5], [[attempt, 2], [3, 4]])).status_code == 200
    out = foreshock("export", "attempts", "--format", "csv", "--out", "-", "--column", "b").out
    assert out.splitlines() == ["rank,step,time,b", "0,1,1.0,2.0", "0,5,5.0,4.0"]
    out = foreshock("export", "attempts", "--format", "csv", "--out", "-", "--attempt", "0").out
    assert out.splitlines()[1] == "0,0,0.0,0.0,2.0"
    told = foreshock("export", "attempts", "--format", "csv", "--column", "los")
    assert told.status == 2 and "has no column 'los'; near it: loss" in told.err
    told = foreshock("export", "attempts", "--format", "csv", "--attempt", "7")
    assert told.status == 2 and "404 unknown-attempt" in told.err


def test_what_cannot_be_exported_leaves_no_file(
    two_ranks: str, foreshock: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "a.csv"
    assert "404 unknown-run: there is no run 'none' here" in foreshock("export", "none", "--out", out).err
    assert "--format is 'xlsx'; allowed are parquet" in foreshock("export", two_ranks, "--format", "xlsx").err
    assert "--format is not given" in foreshock("export", two_ranks).err
    late = foreshock("export", two_ranks, "--out", out, "--start", "1000")
    assert late.status == 2 and "has no values there" in late.err
    both = foreshock("export", two_ranks, "--format", "csv", "--out", "-", "--json")
    assert both.status == 2 and "leave one of them out" in both.err
    lost = foreshock("export", two_ranks, "--out", tmp_path / "none" / "a.csv")
    assert lost.status == 2 and "cannot be written" in lost.err
    out.write_text("what was there before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.os, "fsync", full)
    told = foreshock("export", two_ranks, "--out", out)
    assert told.status == 2 and "No space left on device" in told.err and told.err.count("\n") == 1
    assert out.read_text() == "what was there before" and list(tmp_path.iterdir()) == [out]


def test_a_reader_that_leaves_early_is_no_fault(two_ranks: str, connection: Connection) -> None:
    command = [sys.executable, "-m", "foreshock.cli", "export", two_ranks, "--format", "csv", "--out", "-"]
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "FORESHOCK_URL": connection.url}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


def test_streams_join_in_bounded_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(7)
    monkeypatch.setattr(merging, "MAX_VALUES", 60)
    with Staging() as staging:
        streams, told = [], {}
        for number, columns in enumerate([[0], [1, 2], [2, 0]]):
            steps = np.sort(generator.choice(400, 150, replace=False)).astype(np.int64)
            values_KC = generator.normal(size=(150, len(columns))).astype(np.float32)
            values_KC[generator.random(values_KC.shape) < 0.3] = MISSING
            cuts = np.split(np.arange(150), np.sort(generator.choice(149, 4, replace=False) + 1))
            blocks = [staging.put(Block(steps[cut], steps[cut] + number / 4, values_KC[cut])) for cut in cuts]
            streams.append(Staged(np.array(columns), blocks))
            for row, step in enumerate(steps.tolist()):
                for place, column in enumerate(columns):
                    if not is_missing(values_KC[row, place]):
                        told[step, column] = values_KC[row, place]
        parts: list[Part] = list(merge(0, streams, 3, staging.get))
    assert max(len(part.steps) for part in parts) <= 20
    joined = np.concatenate([part.steps for part in parts])
    assert (np.diff(joined) > 0).all()
    found = {
        (step, column): value
        for part in parts
        for step, row in zip(part.steps.tolist(), part.values_KC, strict=True)
        for column, value in enumerate(row)
        if not is_missing(value)
    }
    assert found == told
