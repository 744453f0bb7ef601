"""Files of other tools, written by their own libraries."""

import builtins
import gzip
import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conftest import require
from tests.exchange.conftest import Command

from foreshock.query.connection import Connection

Stored = Callable[..., dict[str, Any]]
GOLDEN = Path(__file__).parent / "golden"


def unpack(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(gzip.decompress((GOLDEN / f"{name}.gz").read_bytes()))
    return path


def test_parquet_tells_null_from_nan(foreshock: Command, stored: Stored, tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = {
        "step": pa.array([0, 1, 2], pa.int32()),
        "time": pa.array([1_700_000_000_000_000 + n for n in range(3)], pa.timestamp("us", "UTC")),
        "loss": pa.array([1.5, None, math.nan], pa.float32()),
        "half": pa.array(np.array([1, 2, 3], np.float16)),
        "is_bad": pa.array([True, False, None]),
    }
    parquet.write_table(pa.table(table), tmp_path / "a.parquet")
    [run] = foreshock("import", tmp_path / "a.parquet", "--json").runs
    columns = stored(run["run_id"], "loss", "half", "is_bad")
    assert columns["loss"][0] == [0, 2] and math.isnan(columns["loss"][1][1])
    assert columns["half"][1].tolist() == [1, 2, 3] and columns["is_bad"][1].tolist() == [1, 0]
    table["loss"] = pa.array(["a", "b", "c"])
    parquet.write_table(pa.table(table), tmp_path / "b.parquet")
    assert "row 1: 'loss' is 'a', which is no number" in foreshock("import", tmp_path / "b.parquet").err


def events(folder: Path, steps: range, offset: float = 0.0) -> None:
    """Both forms that scalars have had, and an image."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.scalar.metadata import create_summary_metadata
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.util.tensor_util import make_tensor_proto

    writer = EventFileWriter(str(folder))
    for step in steps:
        old = Summary(value=[Summary.Value(tag="loss", simple_value=offset + step / 4)])
        tensor = make_tensor_proto(np.float32(offset + step / 8))
        about = create_summary_metadata("", "")
        new = Summary(value=[Summary.Value(tag="train/acc x", tensor=tensor, metadata=about)])
        for summary in (old, new):
            writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))
    image = Summary(value=[Summary.Value(tag="picture", image=Summary.Image(height=1, width=1))])
    writer.add_event(Event(wall_time=1.7e9, step=steps[0], summary=image))
    writer.close()


def test_tensorboard_runs_are_folders(
    foreshock: Command, stored: Stored, connection: Connection, tmp_path: Path
) -> None:
    require(importlib.util.find_spec("tensorboard") is not None, "tensorboard")
    events(tmp_path / "logs" / "a", range(0, 50))
    events(tmp_path / "logs" / "b" / "c", range(5), offset=0.5)
    runs = foreshock("import", tmp_path / "logs", "--json").runs
    assert [connection.get(f"/runs/{run['run_id']}")["name"] for run in runs] == ["a", "b/c"]
    columns = stored(runs[0]["run_id"], "loss", "train/acc_x")
    assert columns["loss"][0] == list(range(50))
    np.testing.assert_array_equal(columns["loss"][1], np.arange(50) / 4)
    np.testing.assert_array_equal(columns["train/acc_x"][1], np.arange(50) / 8)
    assert "left out, no numbers: picture" in runs[0]["notes"]
    assert connection.get(f"/runs/{runs[0]['run_id']}")["started_at"] == 1.7e9


def test_a_resumed_tensorboard_run_is_a_rollback(foreshock: Command, stored: Stored, tmp_path: Path) -> None:
    require(importlib.util.find_spec("tensorboard") is not None, "tensorboard")
    events(tmp_path / "1", range(20))
    events(tmp_path / "2", range(10, 30), offset=100)
    for number, part in enumerate(sorted(tmp_path.rglob("events*"))):
        part.rename(tmp_path / f"events.out.tfevents.{number}")
    [run] = foreshock("import", tmp_path, "--json").runs
    assert run["attempts"] == 2
    assert stored(run["run_id"], "loss", attempt=0)["loss"][0] == list(range(20))
    assert stored(run["run_id"], "loss")["loss"][1].tolist() == [100 + step / 4 for step in range(10, 30)]


def test_a_torn_event_file_is_read_to_its_end_and_a_damaged_one_refused(
    foreshock: Command, tmp_path: Path
) -> None:
    require(importlib.util.find_spec("tensorboard") is not None, "tensorboard")
    events(tmp_path, range(20))
    [path] = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:-7])
    [run] = foreshock("import", path, "--json").runs
    assert run["values"] == 40
    # A length and a value
    for place in (200, 215):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        told = foreshock("import", path)
        assert told.status == 2 and "the event at byte 195 is damaged" in told.err


def check_golden(run: dict[str, Any], stored: Stored, about: dict[str, Any], words: str) -> None:
    columns = stored(run["run_id"], "loss", "bad", "inf", "nest.deep")
    assert columns["loss"][0] == [0, 1, 2, 3, 4, 100]
    assert columns["loss"][1].tolist() == [2.0, 1.875, 1.75, 1.625, 1.5, 0.5]
    assert np.isnan(columns["bad"][1]).all() and (columns["inf"][1] == -np.inf).all()
    assert columns["nest.deep"][1].tolist() == [0, 1, 2, 3, 4]
    assert f"left out, no numbers: {words}" in run["notes"]
    assert (about["name"], about["group"], about["seed"]) == ("hc-0", "hc", 3)
    assert about["config"] == {"seed": 3, "lr": 0.1} and about["started_at"] > 1.7e9


def test_a_database_of_trackio(
    foreshock: Command, stored: Stored, connection: Connection, tmp_path: Path
) -> None:
    path = unpack("trackio.db", tmp_path)
    before = path.read_bytes()
    [run] = foreshock("import", path, "--json").runs
    about = connection.get(f"/runs/{run['run_id']}")
    check_golden(run, stored, about, "words")
    assert about["project"] == "trackio" and about["state"] == "finished"
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_offline_run_of_wandb(
    foreshock: Command, stored: Stored, connection: Connection, tmp_path: Path
) -> None:
    pytest.importorskip("wandb.proto.wandb_internal_pb2", reason="wandb comes with `make bench`")
    path = unpack("run.wandb", tmp_path)
    [run] = foreshock("import", tmp_path, "--json").runs
    about = connection.get(f"/runs/{run['run_id']}")
    check_golden(run, stored, about, "words")
    assert about["project"] == "golden" and about["tags"] == ["a", "b"] and about["state"] == "crashed"
    data = path.read_bytes()
    path.write_bytes(data[:-5])
    [torn] = foreshock("import", path, "--json").runs
    assert torn["values"] == run["values"]
    path.write_bytes(data[:600] + bytes([data[600] ^ 1]) + data[601:])
    assert "is damaged: its checksum is another's" in foreshock("import", path).err


@pytest.mark.parametrize(
    ("name", "library", "words"),
    [
        (
            "events.out.tfevents.1",
            "tensorboard",
            "TensorBoard event files needs tensorboard: pip install 'fo",
        ),
        ("run.wandb", "wandb", "wandb's offline runs needs wandb: pip install 'foreshock[wandb]'"),
        ("a.parquet", "pyarrow", "Parquet needs pyarrow: pip install 'foreshock[exchange]'"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(
    name: str, library: str, words: str, foreshock: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, module)
    importing = builtins.__import__

    def without(module: str, *rest: Any) -> Any:
        if module.partition(".")[0] == library:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return importing(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / name).write_bytes(b"something")
    told = foreshock("import", tmp_path / name)
    assert told.status == 2 and words in told.err and told.err.count("\n") == 1
