"""What explain says is what attach then does."""

from pathlib import Path

import pytest
import torch
from torch import nn

from foreshock.probe import AttachError, attach, explain
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.transformer import Transformer


def test_a_reference_model_is_explained_and_left_alone() -> None:
    model = Transformer(
        ModelConfig(connection="mhc", num_blocks=2, width=32, context=16, num_experts=4), seed=0
    )
    hooks = [len(module._forward_hooks) for module in model.modules()]
    found = explain(model)
    counts = {part.what: part.count for part in found.parts}
    assert counts["mixing matrices"] == 4 and counts["routers"] == 2 and counts["attention"] == 2
    assert counts["SwiGLUs"] == 2 * (4 + 1) and counts["embedding and head"] == 2
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert "mixing matrices: 4 (layers.0" in str(found) and "x'_i = sum_j h_res_ij x_j" in str(found)
    assert found.as_dict()["values"] == found.values and found.bytes_a_step > 0


def test_its_count_of_values_is_that_of_the_streams(tmp_path: Path) -> None:
    model = Transformer(ModelConfig(connection="hc", num_blocks=2, width=32, context=16), seed=0)
    probe = attach(model, mode="offline", directory=tmp_path)
    sheets = probe._instruments.plan.sheets
    probe.finish()
    own = {"step": 3}  # loss and the two gradient norms
    assert {cadence: len(names) - own.get(cadence, 0) for cadence, names in sheets.items()} == explain(
        model
    ).values


def test_a_model_with_nothing_to_find_is_told_what_can_be_done() -> None:
    words = str(explain(nn.Linear(3, 3)))
    assert "mixing matrices: none" in words and "probe.observe('h_res', H, layer=l)" in words


def test_names_are_taken_as_attach_takes_them() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    assert explain(model, {"?": ".weight"}).parts[0].count == 2
    with pytest.raises(AttachError, match="no module is called so"):
        explain(model, {"blocks.*": ".weight"})


class Counting:
    """A user's observer: counts the steps, and fails in one."""

    def __init__(self, columns: dict[str, tuple[str, ...]]) -> None:
        self.columns, self.num_steps, self.closed = columns, 0, False

    def start(self, places: dict[str, torch.Tensor], clock: object) -> None:
        self.place = places["step"]

    def end_step(self) -> None:
        self.num_steps += 1
        if self.num_steps == 2:
            raise RuntimeError("not today")
        self.place.fill_(float(self.num_steps))

    def close(self) -> None:
        self.closed = True


def test_an_observer_of_ones_own_writes_and_cannot_harm(tmp_path: Path, read_spool: object) -> None:
    own = Counting({"step": ("steps/seen",)})
    probe = attach(nn.Linear(3, 3), mode="offline", directory=tmp_path, observers=[own])
    for _ in range(3):
        probe.step(1.0)
    probe.finish()
    series = read_spool(probe).series  # type: ignore[operator]
    assert series["steps/seen"] == {0: 1.0, 2: 3.0} and list(series["loss"]) == [0, 1, 2]
    assert dict(probe.faults.counts) == {"the observer Counting: RuntimeError": 1} and own.closed


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"hourly": ("x",)}, "cadence 'hourly'; choose of step, composite, slow, rare"),
        ({"step": ("loss",)}, "'loss', a signal of the catalogue"),
        ({"step": ("two words",)}, "a column that cannot be"),
    ],
)
def test_columns_that_cannot_be_are_refused(
    columns: dict[str, tuple[str, ...]], words: str, tmp_path: Path
) -> None:
    with pytest.raises(AttachError, match=words):
        attach(nn.Linear(3, 3), mode="offline", directory=tmp_path, observers=[Counting(columns)])
