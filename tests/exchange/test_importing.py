"""Imports: what arrives, that it arrives once, and what is told of what cannot."""

import gzip
import json
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.exchange.conftest import Command

from foreshock.exchange import delivery
from foreshock.query.connection import Connection
from foreshock.query.errors import UnreachableError

Stored = Callable[..., dict[str, Any]]

needs_wandb = pytest.mark.skipif(find_spec("wandb") is None, reason="wandb comes with `make bench`")


def write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


TABLE = """step,wall_time,loss,layer_amax_forward_max[3],val acc
0,1700000000,2.5,,0.5
1,1700000001.5,NaN,1.25,
2,2023-11-14T22:13:22Z,-inf,-0.0,0.75
"""


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_table_arrives_with_its_gaps_and_its_nans(
    name: str, foreshock: Command, stored: Stored, connection: Connection, tmp_path: Path
) -> None:
    told = foreshock(
        "import", write(tmp_path / name, TABLE), "--project", "paper", "--name", "one", "--group", "hc",
        "--seed", "7", "--tag", "a", "--tag", "b", "--config", "lr=3e-3", "--config", "kind=mhc",
        "--run-id", f"table-{len(name)}", "--json",
    )  # fmt: skip
    assert told.status == 0, told.err
    [run] = told.runs
    assert (run["rows"], run["values"], run["series"], run["attempts"], run["ranks"]) == (3, 7, 3, 1, 1)
    columns = stored(run["run_id"], "loss", "layer_amax_forward_max[3]", "val_acc")
    assert columns["loss"][0] == [0, 1, 2]
    np.testing.assert_array_equal(columns["loss"][1], [2.5, math.nan, -math.inf])
    assert columns["layer_amax_forward_max[3]"][0] == [1, 2]
    assert math.copysign(1, columns["layer_amax_forward_max[3]"][1][1]) == -1
    assert columns["val_acc"][0] == [0, 2]
    assert any("'val acc' as val_acc" in note for note in run["notes"])
    assert any("not in the catalogue: val_acc" in note for note in run["notes"])
    about = connection.get(f"/runs/{run['run_id']}")
    assert about["state"] == "finished" and about["started_at"] == 1700000000
    assert (about["project"], about["name"], about["group"], about["seed"]) == ("paper", "one", "hc", 7)
    assert about["tags"] == ["a", "b"] and about["config"] == {"lr": 0.003, "kind": "mhc"}


def test_the_same_content_is_stored_once_whatever_its_file_is_called(
    foreshock: Command, connection: Connection, tmp_path: Path
) -> None:
    text = "step,loss\n" + "".join(f"{step},{step / 8}\n" for step in range(10_000))
    [first] = foreshock("import", write(tmp_path / "first.csv", text), "--json").runs
    told = foreshock("import", write(tmp_path / "second.csv.gz", text))
    assert told.status == 0 and f"already there as {first['run_id']}" in told.out
    [again] = foreshock("import", tmp_path / "first.csv", "--json").runs
    assert again["records_sent"] == 0 and again["records_known"] == first["records_sent"] > 3
    [other] = foreshock("import", write(tmp_path / "other.csv", text + "10000,1\n"), "--json").runs
    assert other["run_id"] != first["run_id"]
    [cursor] = connection.get(f"/runs/{first['run_id']}")["cursors"]
    assert cursor["next_sequence"] == first["records_sent"]


def test_an_interrupted_import_goes_on_where_it_stopped(
    foreshock: Command, stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{step},{rank},{step + rank / 4}" for step in range(5000) for rank in range(2)]
    path = write(tmp_path / "a.csv", "\n".join(["step,rank,loss", *lines]))
    monkeypatch.setattr(delivery, "_MAX_BODY_RECORDS", 1)
    post, left = Connection.post, [5]

    def fragile(self: Connection, path: str, *rest: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise UnreachableError("the cable is out")
        return post(self, path, *rest)

    monkeypatch.setattr(Connection, "post", fragile)
    told = foreshock("import", path)
    assert told.status == 2 and told.err == "foreshock import: the cable is out\n"
    left[0] = 1000
    [run] = foreshock("import", path, "--json").runs
    # Two declarations, then three appends
    assert run["records_known"] == 3 and run["records_sent"] == 5
    steps, values = stored(run["run_id"], "loss")["loss"]
    assert steps == list(range(5000))
    np.testing.assert_array_equal(values, np.arange(5000) + 0.125)


def test_steps_that_go_back_begin_an_attempt(
    foreshock: Command, stored: Stored, connection: Connection, tmp_path: Path
) -> None:
    lines = [{"step": step, "loss": float(step)} for step in (0, 1, 2, 3)]
    lines += [{"step": 3, "eval": 0.5}, {"step": 2, "loss": 20.0}, {"step": 4, "loss": 40.0, "time": 1e9}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, lines)))
    [run] = foreshock("import", path, "--json").runs
    assert run["attempts"] == 2 and any("go back 1 times" in note for note in run["notes"])
    assert stored(run["run_id"], "loss", attempt=0)["loss"][0] == [0, 1, 2, 3]
    assert stored(run["run_id"], "eval", attempt=0)["eval"][0] == [3]
    assert stored(run["run_id"], "loss")["loss"][0] == [2, 4]
    events = connection.get(f"/runs/{run['run_id']}/events")["events"]
    assert [(event["kind"], event["attempt"]) for event in events] == [("rollback", 0), ("finished", 1)]
    assert events[0]["detail"] == {"back_to_step": 2}


def test_series_of_other_cadences_are_streams_of_their_own(
    foreshock: Command, connection: Connection, stored: Stored, tmp_path: Path
) -> None:
    lines = [{"step": step, "loss": float(step)} for step in range(10)]
    lines += [{"step": epoch, "epoch_loss": 0.5} for epoch in range(3)] + [{"step": 90, "final": True}]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    [run] = foreshock("import", path, "--json").runs
    assert run["attempts"] == 1
    assert stored(run["run_id"], "epoch_loss")["epoch_loss"][0] == [0, 1, 2]
    assert connection.get(f"/runs/{run['run_id']}")["last_step"] == 90
    assert connection.get(f"/runs/{run['run_id']}/latest")["values"] == {
        "loss": 9.0, "epoch_loss": 0.5, "final": 1.0
    }  # fmt: skip


def test_more_sets_of_series_than_streams_arrive_whole(
    foreshock: Command, stored: Stored, tmp_path: Path
) -> None:
    lines = [{"step": step, "loss": 1.0, f"expert_{step % 90}": step / 4} for step in range(5000)]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, lines)))
    [run] = foreshock("import", path, "--json").runs
    assert (run["series"], run["values"]) == (91, 10_000)
    columns = stored(run["run_id"], "loss", "expert_0", "expert_89")
    assert columns["loss"][0] == list(range(5000))
    for expert in (0, 89):
        steps, values = columns[f"expert_{expert}"]
        assert steps == list(range(expert, 5000, 90))
        np.testing.assert_array_equal(values, np.array(steps) / 4)


def test_rows_of_one_step_are_one_and_the_later_value_counts(
    foreshock: Command, stored: Stored, tmp_path: Path
) -> None:
    text = '{"step":1,"loss":1,"epoch":0}\n{"step":1,"eval":3,"epoch":2}\n'
    [run] = foreshock("import", write(tmp_path / "a.jsonl", text), "--json").runs
    assert run["attempts"] == 1 and any("1 values were given a second time" in note for note in run["notes"])
    found = stored(run["run_id"], "loss", "epoch", "eval")
    assert {name: values.tolist() for name, (_, values) in found.items()} == {
        "loss": [1], "epoch": [2], "eval": [3]
    }  # fmt: skip


def test_what_float32_cannot_keep_is_told_in_one_line(foreshock: Command, tmp_path: Path) -> None:
    text = "step,a,b\n0,0.1,1e39\n1,0.123456789,16777217\n2,3.4028235e38,-inf\n"
    told = foreshock("import", write(tmp_path / "a.csv", text))
    assert "of 6 values 2 rounded, 1 too large and now infinite" in told.err
    kept = foreshock("import", write(tmp_path / "b.csv", "step,a\n0,0.1\n1,1e-45\n2,1.2345679e+08\n"))
    assert kept.status == 0 and "rounded" not in kept.err


def test_json_lines_take_nan_in_every_spelling(foreshock: Command, stored: Stored, tmp_path: Path) -> None:
    text = "".join(
        f'{{"step": {step}, "loss": {spelt}, "none": null}}\n'
        for step, spelt in enumerate(["NaN", '"nan"', "Infinity", '"-Infinity"', '"inf"', "1", "true"])
    )
    [run] = foreshock("import", write(tmp_path / "a.jsonl", text), "--json").runs
    values = stored(run["run_id"], "loss")["loss"][1]
    np.testing.assert_array_equal(values, [math.nan, math.nan, math.inf, -math.inf, math.inf, 1, 1])


def test_columns_are_renamed_and_left_out(foreshock: Command, stored: Stored, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "Wall time,Step,Value,note\n1700000000,0,1.5,hello\n")
    refused = foreshock("import", path)
    assert refused.status == 2 and "--map THEIRS=step" in refused.err and refused.err.count("\n") == 1
    maps = ["--map", "Wall time=time", "--map", "Step=step", "--map", "Value=loss", "--map", "note="]
    [run] = foreshock("import", path, *maps, "--json").runs
    assert stored(run["run_id"], "loss")["loss"][1].tolist() == [1.5]
    unused = foreshock("import", path, *maps, "--map", "acc=accuracy")
    assert unused.status == 2 and "--map names 'acc'" in unused.err


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "step,loss\n", "holds no values"),
        ("a.csv", "loss,acc\n1,2\n", "line 1: there is no column 'step'"),
        ("a.csv", "step,loss,loss\n1,2,3\n", "line 1: column 'loss' is there twice"),
        ("a.csv", "step\n1\n", "line 1: there is no series"),
        ("a.csv", "step,loss\n1,2\n2,high\n", "line 3: 'loss' is 'high', which is no number"),
        ("a.csv", "step,loss\n1,1_000\n", "line 2: 'loss' is '1_000', which is no number"),
        ("a.csv", "step,loss\n1.5,2\n", "line 2: step is '1.5', which is no whole number"),
        ("a.csv", "step,loss\n-1,2\n", "line 2: step is -1; 0 to"),
        ("a.csv", "step,loss\n9007199254740993,2\n", "line 2: step is 9007199254740993; 0 to"),
        ("a.csv", "step,loss\nnan,2\n", "line 2: step is 'nan', which is no whole number"),
        ("a.csv", "step,loss\n,2\n", "line 2: step is '', which is no whole number"),
        ("a.csv", "step,loss\n1\n", "line 2: 1 cells under a header of 2 columns"),
        ("a.csv", 'step,loss\n1,"2\n', "line 2"),
        ("a.csv", "step,time,loss\n1,1700000000000,2\n", "line 2: time is '1700000000000'"),
        ("a.csv", "step,rank,loss\n1,0.5,2\n", "line 2: rank is '0.5', which is no whole number"),
        ("a.csv", "step,a b,a_b\n1,2,3\n", "columns 'a b' and 'a_b' would both be 'a_b'"),
        ("a.csv", "step,loss\n" + "5,1\n4,1\n" * 120, "go back more than 99 times"),
        ("a.jsonl", "", "the file is empty"),
        ("a.jsonl", '{"loss":1}\n', "line 1: there is no 'step'"),
        ("a.jsonl", '\n{"step":1,"loss":1,"loss":2}\n', "line 2: 'loss' is there twice"),
        ("a.jsonl", '{"step":1,"loss":"low"}\n', "line 1: 'loss' is 'low', which is no number"),
        ("a.jsonl", '{"step":1,"loss":{"a":1}}\n', "line 1: 'loss' is {'a': 1}, which is no number"),
        ("a.jsonl", '{"step":true,"loss":1}\n', "line 1: step is True, which is no whole number"),
        ("a.jsonl", '{"step":1,"loss":1}\n[1]\n', "line 2: no JSON object"),
        ("a.jsonl", '{"step":1,"loss"\n', "line 1: no JSON"),
        ("a.parquet", "PAR1 or not", "no readable Parquet file"),
        pytest.param("a.wandb", "something", "does not begin with ':W&B'", marks=needs_wandb),
        ("events.out.tfevents.1", "something", "no TensorBoard event file"),
        ("a.txt", "something", "say --from csv, jsonl"),
        ("a.db", "SQLite format 3\0", "cannot be read as an SQLite database"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_nothing_is_stored(
    name: str, text: str, words: str, foreshock: Command, connection: Connection, tmp_path: Path
) -> None:
    before = connection.get("/runs")["total"]
    told = foreshock("import", write(tmp_path / name, text), "--name", "bad")
    assert told.status == 2 and told.out == ""
    assert told.err.startswith("foreshock import: ") and told.err.count("\n") == 1
    assert words in told.err
    assert connection.get("/runs")["total"] == before


def test_broken_bytes_are_one_line(foreshock: Command, tmp_path: Path) -> None:
    torn = tmp_path / "a.csv.gz"
    torn.write_bytes(gzip.compress(TABLE.encode())[:-20])
    assert "the gzip file is broken after line" in foreshock("import", torn).err
    latin = tmp_path / "b.csv"
    latin.write_bytes("step,größe\n1,2\n".encode("latin-1"))
    assert "line 1: no UTF-8 text" in foreshock("import", latin).err
    zeros = tmp_path / "c.csv"
    zeros.write_bytes(b"step,loss\n1,2\n\0\0\0\0\n")
    assert "line 3: holds NUL bytes" in foreshock("import", zeros).err


def test_another_runs_id_is_refused(foreshock: Command, tmp_path: Path) -> None:
    assert foreshock("import", write(tmp_path / "a.csv", "step,loss\n1,2\n"), "--run-id", "mine").status == 0
    told = foreshock("import", write(tmp_path / "b.csv", "step,loss\n1,3\n"), "--run-id", "mine")
    assert told.status == 2 and "run mine already holds something else" in told.err


def test_options_that_cannot_be_are_told(foreshock: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "step,loss\n1,2\n")
    other = write(tmp_path / "b.csv", "step,loss\n1,3\n")
    assert "--from is 'excel'; allowed are csv" in foreshock("import", path, "--from", "excel").err
    assert "--run-id names one run, and there are 2" in foreshock("import", path, other, "--run-id", "x").err
    assert "--config is 'lr'; give KEY=VALUE" in foreshock("import", path, "--config", "lr").err
    assert "--map loss=a b" in foreshock("import", path, "--map", "loss=a b").err
    assert "there is no such file" in foreshock("import", tmp_path / "none.csv").err


def test_a_file_with_a_fault_does_not_keep_the_others_out(foreshock: Command, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.csv", "step,loss\n1,x\n")
    good = write(tmp_path / "good.csv", "step,loss\n1,2.25\n")
    told = foreshock("import", bad, good, "--json")
    assert told.status == 2 and [run["path"] for run in told.runs] == [str(good)]
    assert json.loads(told.out)["faults"] == [told.err.removeprefix("foreshock import: ").rstrip("\n")]


def test_without_a_collector_it_says_what_to_do(foreshock: Command, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "step,loss\n1,2\n")
    told = foreshock("import", path, "--url", "http://127.0.0.1:1")
    assert told.status == 2 and "start one with `foreshock serve`" in told.err and told.err.count("\n") == 1
    assert "url is 'collector'" in foreshock("import", path, "--url", "collector").err
