"""The user's own series: what is kept, and what a wrong value does to the rest."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreshock.probe import attach


def test_users_series_keep_nan_inf_and_huge_numbers(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    probe.log({"nan": math.nan, "inf": -math.inf, "huge": 1e300, "integer": 7, "true": True})
    probe.log({"later": 1.0})
    probe.step(loop.step())
    probe.log({"tensor": torch.tensor(2.0), "array": np.array([3.0]), "numpy": np.float32(4)})
    probe.step(loop.step())
    probe.log({"at": 5.0}, step=40)
    probe.finish()
    series = read_spool(probe).series
    assert math.isnan(series["nan"][0]) and series["inf"][0] == -math.inf and series["huge"][0] == math.inf
    assert series["integer"][0] == 7 and series["true"][0] == 1 and series["later"][0] == 1
    assert (series["tensor"][1], series["array"][1], series["numpy"][1]) == (2, 3, 4)
    assert series["at"] == {40: 5.0}
    assert not probe.faults.counts


@pytest.mark.parametrize("wrong", [None, "text", torch.zeros(3), np.zeros(2), object()])
def test_a_wrong_value_is_told_once_and_the_rest_goes_on(
    wrong: object,
    loop: Any,
    read_spool: Callable[..., Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    for _ in range(3):
        probe.log({"good": 1.0, "bad": wrong})
        probe.step(loop.step())
    probe.finish()
    assert list(read_spool(probe).series["good"]) == [0, 1, 2]
    assert sum("'bad'" in record.message for record in caplog.records) == 1
    assert probe.faults.counts["log value"] == 3


@pytest.mark.parametrize("name", ["has space", "loss", "x" * 200, "layer_amax_forward_max[3]"])
def test_a_name_that_cannot_be_used_is_told_and_harms_nothing(
    name: str, loop: Any, read_spool: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    probe.log({name: 123.0})
    probe.step(loop.step())
    probe.finish()
    series = read_spool(probe).series
    assert 0 in series["loss"] and series["loss"][0] != 123.0
    assert caplog.records
