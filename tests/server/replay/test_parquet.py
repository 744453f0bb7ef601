"""Parquet that is read column by column: the same run as row by row, and nothing taken that rows refuse."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.exchange.errors import SourceError
from foreshock.server.detection.user_rules import load_rules
from foreshock.server.replay.judging import replay_trace
from foreshock.server.replay.timeline import as_dict
from foreshock.server.replay.traces import open_trace

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

RULES = """
rules:
  - name: silent
    signal: grad_norm
    when: {missing: 20 steps}
  - name: large
    signal: grad_norm
    when: {above: 2}
    for: 3 steps
"""


def write(path, columns):
    """The same columns as Parquet and, beside it, as CSV; None is no value."""
    parquet.write_table(pa.table(columns), path)
    names = list(columns)
    lines = [",".join(names)]
    for row in zip(*columns.values(), strict=True):
        lines.append(",".join("" if cell is None else repr(cell) for cell in row))
    path.with_suffix(".csv").write_text("\n".join(lines) + "\n")
    return path


def judged(path, rules):
    trace = open_trace(path)
    context = trace.context
    return [json.dumps(as_dict(one)) for one in replay_trace(trace, context, rules)], trace.num_steps


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(RULES)
    return load_rules(path).rules


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.02, 0.3]), repeats=st.booleans())
@settings(max_examples=25, deadline=None)
def test_it_is_judged_as_the_same_rows_of_csv_are(tmp_path_factory, rules, seed, share, repeats):
    rng = np.random.default_rng(seed)
    num_steps = int(rng.integers(60, 400))
    empty = rng.random(num_steps) < share
    # A stretch in which nothing at all is told, and one in which a single series is not
    hole, gap = sorted(rng.integers(0, num_steps, 2)), sorted(rng.integers(0, num_steps, 2))
    empty[hole[0] : hole[1]] |= bool(rng.random() < 0.5)
    loss = [float(one) for one in 2.5 + 0.05 * rng.standard_normal(num_steps)]
    norm = [float(one) for one in np.exp(0.5 * rng.standard_normal(num_steps))]
    steps = list(range(num_steps))
    columns = {
        "step": steps,
        "loss": [None if none else one for none, one in zip(empty, loss, strict=True)],
        "grad_norm": [
            None if none or gap[0] <= step < gap[1] else one
            for step, none, one in zip(steps, empty, norm, strict=True)
        ],
    }
    columns["loss"][0] = 2.5
    folder = tmp_path_factory.mktemp("trace")
    wide = judged(write(folder / "trace.parquet", columns), rules)
    assert wide == judged(folder / "trace.csv", rules)
    if repeats:
        # One row told twice sends the file to the reader of rows: all that came before stays as it was
        again = {name: [*cells, cells[-1]] for name, cells in columns.items()}
        assert judged(write(folder / "again.parquet", again), rules) == wide


NUMBERS = [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"step": [0.0, 1.0, 2.9], "loss": NUMBERS}, "row 3: step is 2.9, which is no whole number"),
        ({"step": [0.0, 1.0, float("nan")], "loss": NUMBERS}, "row 3: step is nan"),
        ({"step": [0.0, 1.0, float("inf")], "loss": NUMBERS}, "row 3: step is inf"),
        ({"step": [-1, 1, 2], "loss": NUMBERS}, "row 1: step is -1"),
        ({"step": [0, 1, 2], "time": [1.0, -5.0, 3.0], "loss": NUMBERS}, "row 2: time is -5.0"),
        ({"step": [0, 1, 2], "time": [1.0, float("nan"), 3.0], "loss": NUMBERS}, "row 2: time is nan"),
        ({"step": [0, 1, 2], "time": [1.0, 2.0, 1e300], "loss": NUMBERS}, "row 3: time is 1e"),
        ({"step": [0, 1, 2], "loss": pa.array([None] * 3, pa.float64()), "lr": NUMBERS}, "no series 'loss'"),
        ({"attempt": [0, 0, 0], "step": [0, 1, 1], "loss": NUMBERS}, "row 3: the steps of an attempt do not"),
        ({"attempt": [1, 1, 0], "step": [0, 1, 2], "loss": NUMBERS}, "row 3: the steps of an attempt do not"),
        ({"attempt": [0.5, 1, 2], "step": [0, 1, 2], "loss": NUMBERS}, "'attempt' holds other than whole"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_rows_refuse_is_refused_in_columns(tmp_path, columns, words):
    parquet.write_table(pa.table(columns), tmp_path / "trace.parquet")
    with pytest.raises(SourceError, match=words):
        judged(tmp_path / "trace.parquet", None)
