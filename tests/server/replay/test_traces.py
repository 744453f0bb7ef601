"""Traces of every form give the same blocks; what is wrong with one is said, or counted."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.server.replay.conftest import write_events

from foreshock.exchange.errors import ExchangeError, OptionError, SourceError
from foreshock.server.replay.traces import open_trace

ROWS = [
    {"step": 0, "loss": 3.0, "layer_amax_forward_mean[1]": 1.5},
    {"step": 1, "loss": float("nan"), "layer_amax_forward_mean[1]": float("inf")},
    {"step": 2, "loss": 2.0, "my/own": 7.0},
]


def as_csv(rows):
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[str(row.get(name, "")) for name in names] for row in rows]
    return "\n".join(",".join(line) for line in [names, *cells]) + "\n"


def written(tmp_path, form, rows):
    path = tmp_path / f"run.{form}"
    if form == "csv":
        path.write_text(as_csv(rows))
    elif form == "csv.gz":
        path.write_bytes(gzip.compress(as_csv(rows).encode()))
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "jsonl.gz":
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    elif form == "parquet":
        names = list(dict.fromkeys(name for row in rows for name in row))
        parquet.write_table(pa.table({name: [row.get(name) for row in rows] for name in names}), path)
    elif form == "tensorboard":
        path = tmp_path / "logs"
        write_events(path, [(row["step"], name, row[name]) for row in rows for name in row if name != "step"])
    return path


def read(path, mapping=None):
    """All of a trace: per attempt its steps, and for each column the steps that have it with their values."""
    trace = open_trace(path, mapping or {})
    found = []
    for attempt, block in trace.parts():
        assert len(block) <= 1024 and (np.diff(block.steps) > 0).all()
        if attempt == len(found):
            found.append({"steps": [], "series": {}})
        found[attempt]["steps"] += block.steps.tolist()
        for place, name in enumerate(block.columns.names):
            here = block.present[:, place]
            told = found[attempt]["series"].setdefault(name, {})
            told.update(zip(block.steps[here].tolist(), block.values[here, place].tolist(), strict=True))
    return trace, found


def same(found, expected):
    return repr(found) == repr(expected)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl", "jsonl.gz", "parquet", "tensorboard"])
def test_every_form_gives_the_same_values_and_one_warning_names_what_no_rule_knows(tmp_path, form):
    trace, (found,) = read(written(tmp_path, form, ROWS))
    assert found["steps"] == [0, 1, 2]
    assert same(found["series"]["loss"], {0: 3.0, 1: float("nan"), 2: 2.0})
    assert same(found["series"]["layer_amax_forward_mean[1]"], {0: 1.5, 1: float("inf")})
    assert found["series"]["my/own"] == {2: 7.0}
    (warning,) = trace.warnings
    assert "my/own" in warning and "loss" not in warning
    assert trace.total_steps is None


def test_a_trace_is_read_again_from_its_beginning(tmp_path):
    trace = open_trace(written(tmp_path, "csv", ROWS))
    first, second = [[block.steps.tolist() for block in trace.blocks()] for _ in range(2)]
    assert first == second == [[0, 1, 2]]
    assert trace.num_steps == 3


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "tensorboard"])
def test_columns_are_renamed_and_left_out(tmp_path, form):
    rows = [{"step": step, "train/loss": 1.0, "junk": 5.0, "gain": 2.0} for step in range(3)]
    mapping = {"train/loss": "loss", "junk": "", "gain": "layer_amax_forward_mean[0]"}
    trace, (found,) = read(written(tmp_path, form, rows), mapping)
    assert sorted(found["series"]) == ["layer_amax_forward_mean[0]", "loss"]
    assert trace.warnings == ()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_long_traces_come_in_blocks_of_bounded_length(tmp_path, form):
    rows = [{"step": 2 * step, "loss": float(step)} for step in range(5000)]
    _, (found,) = read(written(tmp_path, form, rows))
    assert found["steps"] == list(range(0, 10_000, 2))
    assert list(found["series"]["loss"].values()) == list(range(5000))


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_steps_told_twice_are_one_and_counted(tmp_path, form):
    rows = [{"step": step, "loss": value} for step, value in [(0, 1.0), (1, 2.0), (1, 5.0), (2, 3.0)]]
    trace, (found,) = read(written(tmp_path, form, rows))
    assert found["series"]["loss"] == {0: 1.0, 1: 5.0, 2: 3.0}
    assert trace.warnings == ("values told twice of one step: 1; the later one counts",)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_steps_that_go_back_are_a_rollback_and_said_to_be(tmp_path, form):
    rows = [{"step": step, "loss": 1.0} for step in (*range(50), *range(30, 60))]
    trace, (first, second) = read(written(tmp_path, form, rows))
    assert first["steps"] == list(range(50)) and second["steps"] == list(range(30, 60))
    (warning,) = trace.warnings
    assert "1 times, first to step 30" in warning and "sort the rows" in warning


def test_shuffled_rows_are_refused(tmp_path):
    steps = np.random.default_rng(0).permutation(400).tolist()
    path = written(tmp_path, "csv", [{"step": step, "loss": 1.0} for step in steps])
    with pytest.raises(ExchangeError, match="sort the rows by step"):
        read(path)


def test_gaps_are_told_and_a_slow_log_has_none(tmp_path):
    slow = [{"step": step, "loss": 1.0} for step in range(0, 5000, 500)]
    assert read(written(tmp_path, "csv", slow))[0].warnings == ()
    gap = [{"step": step, "loss": 1.0} for step in (*range(1500), *range(1560, 1600))]
    (warning,) = read(written(tmp_path, "csv", gap))[0].warnings
    assert "1, the widest from 1499 to 1560" in warning


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("step,loss\n", "holds no values"),
        ("loss,other\n1,2\n", "there is no column 'step'"),
        (
            "step,train/loss\n1,2\n",
            "no column 'loss', by which most rules go: name it with --map THEIRS=loss",
        ),
        ("step,loss\n0,1.5\n1,abc\n", "line 3: 'loss' is 'abc', which is no number"),
        ("step,loss\n0,1\nx,2\n", "line 3: step is 'x', which is no whole number"),
        ("step,loss\n0,1\n1.5,2\n", "line 3: step is '1.5', which is no whole number"),
        ("step,loss\n-1,1\n", "step is -1; 0 to"),
        ("step,loss\n0,1,2\n", "line 2: 3 cells under a header of 2 columns"),
        ("step,loss,loss\n0,1,2\n", "'loss' is there twice"),
    ],
)
def test_bad_tables_are_refused_with_the_place(tmp_path, text, words):
    path = tmp_path / "run.csv"
    path.write_text(text)
    with pytest.raises(ExchangeError, match=words.replace("(", r"\(")) as refusal:
        read(path)
    assert "run.csv" in str(refusal.value)


def test_words_for_numbers_that_are_not_finite_are_numbers(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step,loss\n0,nan\n1,NaN\n2,inf\n3,-Infinity\n4,\n5,1e-3\n")
    _, (found,) = read(path)
    nan, inf = float("nan"), float("inf")
    assert same(found["series"]["loss"], {0: nan, 1: nan, 2: inf, 3: -inf, 5: 0.001})


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_columns_of_words_that_nobody_knows_are_left_out_and_told(tmp_path, form):
    rows = [{"step": step, "loss": 1.0, "mode": "hc"} for step in range(3)]
    trace, (found,) = read(written(tmp_path, form, rows))
    assert sorted(found["series"]) == ["loss"]
    assert trace.warnings == ("words, left out: mode",)


def test_words_in_a_parquet_column_that_rules_read_are_refused(tmp_path):
    path = written(tmp_path, "parquet", [{"step": 0, "loss": "low"}])
    with pytest.raises(SourceError, match="'loss' is 'low', which is no number"):
        read(path)


def test_a_million_columns_are_refused_by_their_number(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("step,loss," + ",".join(f"c{number}" for number in range(1_000_000)) + "\n")
    with pytest.raises(SourceError, match="names 1000002 columns; at most 65536 are allowed"):
        open_trace(path)


def test_columns_that_come_by_and_by_are_bounded_too(tmp_path):
    path = tmp_path / "run.jsonl"
    with path.open("w") as file:
        for step in range(80):
            row = {"step": step, "loss": 1.0} | {f"c{1000 * step + number}": 1 for number in range(1000)}
            file.write(json.dumps(row) + "\n")
    with pytest.raises(ExchangeError, match="more than 65536 series by step 65"):
        read(path)


def test_json_lines_without_a_loss_are_refused_at_their_end(tmp_path):
    path = written(tmp_path, "jsonl", [{"step": 0, "train_loss": 1.0}])
    with pytest.raises(SourceError, match="--map THEIRS=loss"):
        read(path)


def test_a_mapping_of_nothing_is_refused(tmp_path):
    with pytest.raises(OptionError, match="'lss', which is no column here"):
        read(written(tmp_path, "csv", ROWS), {"lss": "loss_too"})


def test_ranks_side_by_side_are_reduced_as_the_catalogue_says(tmp_path):
    rows = [
        {"step": step, "rank": rank, "loss": 1.0 + rank, "clip_coefficient": 0.5 / (1 + rank)}
        for step in range(3)
        for rank in range(2)
    ]
    _, (found,) = read(written(tmp_path, "csv", rows))
    assert found["series"]["loss"] == {0: 1.5, 1: 1.5, 2: 1.5}
    assert found["series"]["clip_coefficient"] == {0: 0.25, 1: 0.25, 2: 0.25}


def test_ranks_one_after_another_are_refused_where_they_cannot_be_joined(tmp_path):
    rows = [{"step": step, "rank": rank, "loss": 1.0} for rank in range(2) for step in range(3000)]
    with pytest.raises(ExchangeError, match=r"rank 1 begins at step 0.*sort the rows by step"):
        read(written(tmp_path, "csv", rows))


def test_scalars_that_come_late_find_their_step(tmp_path):
    events = [(step, "loss", 1.0 * step) for step in range(20)]
    events += [(step, "grad_norm", 2.0 * step) for step in range(20)]
    path = tmp_path / "logs"
    write_events(path, events)
    _, (found,) = read(path)
    assert found["steps"] == list(range(20))
    assert found["series"]["grad_norm"][7] == 14.0 and found["series"]["loss"][7] == 7.0


def test_scalars_that_come_too_late_are_counted(tmp_path):
    rows = [{"step": step, "loss": 1.0} for step in range(3000)] + [{"step": 5, "grad_norm": 2.0}]
    trace, (found,) = read(written(tmp_path, "jsonl", rows))
    assert "grad_norm" not in found["series"]
    assert any(warning.startswith("values left out: 1,") for warning in trace.warnings)


def test_a_folder_of_several_runs_is_refused(tmp_path):
    for name in ("a", "b"):
        write_events(tmp_path / name, [(0, "loss", 1.0)])
    with pytest.raises(SourceError, match=r"holds 2 runs, and replay takes one.*\(a, b\)"):
        open_trace(tmp_path)


# Recorded runs


def record(folder, manifest=None):
    folder.mkdir()
    table = {
        "attempt": pa.array([0] * 5 + [1] * 4, pa.int32()),
        "step": pa.array([0, 1, 2, 3, 4, 3, 4, 5, 6], pa.int64()),
        "time": pa.array([1000.0 + row for row in range(9)]),
        "loss": pa.array([1.0, None, float("nan"), 2, 3, 4, 5, 6, 7], pa.float32()),
        "grad_norm": pa.array([1.0] * 9, pa.float32()),
    }
    parquet.write_table(pa.table(table), folder / "signals.parquet")
    declared = {
        "declaration": {"total_steps": 7, "constraint": "doubly_stochastic", "config": {"connection": "mhc"}},
        "events": [
            {"attempt": 1, "step": 5, "kind": "schedule", "detail": {"learning_rate": 0.1}},
            {"attempt": 1, "step": 6, "kind": "finished", "detail": {}},
        ],
    }
    text = json.dumps(declared) if manifest is None else manifest
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    return folder


def test_a_recorded_run_says_what_it_declared_and_which_attempt_is_which(tmp_path):
    trace, (first, second) = read(record(tmp_path / "run"))
    assert trace.total_steps == 7 and trace.context.is_constrained
    assert trace.context.config == {"connection": "mhc"}
    assert same(first["series"]["loss"], {0: 1.0, 2: float("nan"), 3: 2.0, 4: 3.0})
    assert second["steps"] == [3, 4, 5, 6]
    (change,) = trace.changes(1)
    assert (change.step, change.what) == (5, "learning_rate 0.1") and trace.changes(0) == []
    assert trace.warnings == ()
    times = [block.times.tolist() for block in trace.blocks()]
    assert times == [[1000.0, 1001, 1002, 1003, 1004], [1005.0, 1006, 1007, 1008]]


EVENT = '{"declaration": {}, "events": [{"kind": "schedule", "detail": {}, "attempt": 0, "step": %s}]}'


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        '{"declaration": {"total_steps": -3}}',
        '{"declaration": {"total_steps": true}}',
        EVENT % '"x"',
        EVENT % "-1",
        EVENT % "0.5",
        "[" * 100_000,
        "\xff",
    ],
)
def test_a_damaged_manifest_is_refused(tmp_path, manifest):
    with pytest.raises(SourceError, match="no manifest of a recorded run"):
        open_trace(record(tmp_path / "run", manifest))
    assert open_trace(tmp_path / "run" / "signals.parquet").total_steps is None


def test_nothing_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no such file"):
        open_trace(tmp_path / "run.csv")
