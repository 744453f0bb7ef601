"""Recorded runs: what the probe spooled is what the Parquet file holds, and damage does not pass."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from foreshock.probe.spool import Spool
from foreshock.reference_models.errors import RecordError, RecordVersionError
from foreshock.reference_models.scenarios.record import (
    FORMAT_VERSION,
    RunRecord,
    find_records,
    read_record,
    write_atomically,
    write_record,
)
from foreshock.wire import MISSING, Event, Layout, Record, Tombstone, make_batch

NAN, INF = np.nan, np.inf


def batch(sequence: int, layout: int, steps: list[int], values_KS: list[list[float]]) -> Record:
    values = np.array(values_KS, np.float32)
    return make_batch(sequence, layout, np.array(steps), np.array(steps) + 0.5, values)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Two attempts: the second goes back to step 2; composites come every other step; a log stream twice."""
    run = tmp_path / "runs" / "own"
    (run / "rank-0").mkdir(parents=True)
    (run / "rank-0.json").write_text(json.dumps({"run_id": "own", "constraint": None}))
    first = Spool(run / "rank-0" / "attempt-0")
    rows: list[list[float]] = [[5.0, 1.0], [4.0, NAN], [INF, 0.0], [3.0, 2.0]]
    values = np.array(rows, np.float32)
    values[2, 1] = MISSING[0]
    first.append(
        [Layout(0, 0, "step", ("loss", "grad_norm")), Layout(1, 1, "composite", ("log_x[0]", "log_x[1]"))]
    )
    first.append([batch(2, 1, [0, 2], [[1.5, -1.5], [2.5, -2.5]])])
    first.append([make_batch(3, 0, np.arange(4), np.arange(4) + 0.5, values)])
    first.append([Layout(4, 2, "log-0", ("own/a", "own/b")), batch(5, 2, [1], [[7.0, 8.0]])])
    first.append([Layout(6, 3, "log-1", ("own/a",)), batch(7, 3, [3, 9], [[9.0], [10.0]])])
    first.append([Event(8, 3, 1.0, "rollback", {"back_to_step": 2}), Tombstone(9, 10, 4, "full")])
    first.close()
    second = Spool(run / "rank-0" / "attempt-1")
    second.append(
        [Layout(0, 0, "step", ("loss", "grad_norm")), batch(1, 0, [2, 3], [[2.0, 4.0], [1.0, 5.0]])]
    )
    second.close()
    return run


@pytest.fixture
def record(spool: Path, tmp_path: Path) -> RunRecord:
    return write_record(spool, tmp_path / "out" / "own", {"run_id": "own", "seed": 3})


def test_a_row_is_a_trained_step_and_a_column_a_series(record: RunRecord) -> None:
    table = record.table()
    assert table["attempt"].to_pylist() == [0, 0, 0, 0, 1, 1]
    assert table["step"].to_pylist() == [0, 1, 2, 3, 2, 3]
    assert table["time"].to_pylist() == [0.5, 1.5, 2.5, 3.5, 2.5, 3.5]
    assert table["loss"].to_pylist() == [5.0, 4.0, INF, 3.0, 2.0, 1.0]
    assert table["log_x[1]"].to_pylist() == [-1.5, None, -2.5, None, None, None]
    # Step 9 of the log stream was never closed by a step, so it has no row
    assert table["own/a"].to_pylist() == [None, 7.0, None, 9.0, None, None]
    assert table["own/b"].to_pylist() == [None, 8.0, None, None, None, None]


def test_no_value_is_null_and_nan_stays_nan(record: RunRecord) -> None:
    norms = record.table(["grad_norm"])["grad_norm"]
    assert norms.is_valid().to_pylist() == [True, True, False, True, True, True]
    assert np.isnan(norms.to_pylist()[1])


def test_the_manifest_tells_events_losses_of_frames_and_versions(record: RunRecord) -> None:
    manifest = json.loads((record.folder / "manifest.json").read_bytes())
    assert manifest == record.manifest
    assert (manifest["num_rows"], manifest["num_series"], manifest["num_lost_frames"]) == (6, 6, 4)
    assert manifest["events"] == [
        {"attempt": 0, "step": 3, "kind": "rollback", "detail": {"back_to_step": 2}}
    ]
    assert manifest["declaration"] == {"run_id": "own", "constraint": None}
    assert {"python", "torch", "pyarrow", "foreshock"} <= manifest["versions"].keys()
    assert (record.run_id, manifest["seed"]) == ("own", 3)


def test_losses_come_in_the_order_of_training(record: RunRecord) -> None:
    steps, losses = record.losses()
    assert steps.tolist() == [0, 1, 2, 3, 2, 3]
    np.testing.assert_array_equal(losses, [5.0, 4.0, INF, 3.0, 2.0, 1.0])


def test_a_column_that_was_not_recorded_is_told(record: RunRecord) -> None:
    with pytest.raises(RecordError, match=r"no column 'los'; the probe did not record it"):
        record.table(["los"])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda folder: flip(folder / "signals.parquet"), "is not what manifest.json vouches for"),
        (lambda folder: (folder / "signals.parquet").unlink(), "is not what manifest.json vouches for"),
        (lambda folder: (folder / "manifest.json").unlink(), "holds no recorded run"),
        (lambda folder: (folder / "manifest.json").write_text('{"format_ver'), "is damaged"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "format version None"),
    ],
)
def test_damage_is_told(record: RunRecord, harm: Callable[[Path], None], words: str) -> None:
    harm(record.folder)
    with pytest.raises(RecordError, match=words):
        read_record(record.folder)


def test_another_format_is_refused_as_such(record: RunRecord) -> None:
    path = record.folder / "manifest.json"
    path.write_text(json.dumps(record.manifest | {"format_version": FORMAT_VERSION + 1}))
    told = f"format version {FORMAT_VERSION + 1}, this foreshock reads {FORMAT_VERSION}:"
    with pytest.raises(RecordVersionError, match=told):
        read_record(record.folder)


def test_a_spool_without_steps_is_no_record(tmp_path: Path) -> None:
    (tmp_path / "rank-0").mkdir()
    with pytest.raises(RecordError, match="holds no steps"):
        write_record(tmp_path, tmp_path / "out", {})
    assert not (tmp_path / "out").exists()


def test_a_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    write_atomically(tmp_path / "a", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"new")]


def test_records_are_found_by_their_manifests(record: RunRecord, tmp_path: Path) -> None:
    (tmp_path / "out" / ".work" / "half").mkdir(parents=True)
    (tmp_path / "out" / "empty").mkdir()
    assert find_records(tmp_path / "out") == [record.folder]


def test_float_bits_survive(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "rank-0").mkdir(parents=True)
    (run / "rank-0.json").write_text("{}")
    bits = np.random.default_rng(0).integers(0, 2**32, (500, 3), np.uint32)
    values: NDArray[np.float32] = bits.view(np.float32)
    spool = Spool(run / "rank-0" / "attempt-0")
    spool.append([Layout(0, 0, "step", ("loss", "a", "b"))])
    spool.append([make_batch(1, 0, np.arange(500), np.arange(500.0), values)])
    spool.close()
    write_record(run, tmp_path / "out", {})
    table = pq.read_table(tmp_path / "out" / "signals.parquet")
    for place, name in enumerate(("loss", "a", "b")):
        stored = table[name].combine_chunks().to_numpy(zero_copy_only=False)
        np.testing.assert_array_equal(stored.view(np.uint32), bits[:, place])
