"""The probe beside DistributedDataParallel and FSDP2: real processes, gloo, and a probe on all or on one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foreshock.probe.spool import Spool
from foreshock.wire import decode_record

from .conftest import spooled

TRAINING = """
import sys, warnings
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from foreshock.probe import attach
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.transformer import Transformer

warnings.simplefilter("ignore")
dist.init_process_group("gloo")
rank, size = dist.get_rank(), dist.get_world_size()
CONFIG = ModelConfig(connection="hc", num_blocks=2, width=32, context=16, num_experts=4)


def train(kind, name, watched):
    model = Transformer(CONFIG, seed=0)
    if kind == "ddp":
        model = DistributedDataParallel(model, find_unused_parameters=True)
    else:
        mesh = init_device_mesh("cpu", (size,))
        for layer in model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    probe = attach(model, optimizer, mode="offline", directory=sys.argv[1], run_id=name) if watched else None
    generator = torch.Generator().manual_seed(rank)
    for _ in range(12):
        tokens = torch.randint(0, 256, (2, 17), generator=generator)
        loss = torch.nn.functional.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if kind == "fsdp, told":
            norm = norm.full_tensor()
        optimizer.step()
        if probe:
            probe.step(loss, grad_norm=norm if kind == "fsdp, told" else None)
    if probe:
        probe.finish()
        assert set(probe.faults.counts) <= {"spread gradients"}, probe.faults.counts


train("ddp", "ddp", True)
train("fsdp", "fsdp", True)
train("fsdp, told", "told", True)
train("fsdp", "one", rank == 0)
dist.destroy_process_group()
"""


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.slow)])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All trainings, one after the other, in so many processes; how many, and where the spools are."""
    folder = tmp_path_factory.mktemp("parallel")
    script = folder / "training.py"
    script.write_text(TRAINING)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(request.param)]
    done = subprocess.run(
        [*torchrun, str(script), str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return request.param, folder


def series_of(folder: Path, run: str, rank: int) -> dict[str, dict[int, float]]:
    spool = Spool(folder / "runs" / run / f"rank-{rank}" / "attempt-0")
    return spooled([decode_record(entry.data) for entry in spool.read(0, 2**40)]).series


@pytest.mark.parametrize("run", ["ddp", "fsdp", "told"])
def test_every_rank_records_its_own_data_and_the_same_mappings(trained: Any, run: str) -> None:
    size, folder = trained
    ranks = [series_of(folder, run, rank) for rank in range(size)]
    for series in ranks:
        assert series.keys() == ranks[0].keys() and list(series["loss"]) == list(range(12))
        for name in (
            "layer_amax_forward_max[3]",
            "composite_norm_inf_max[3]",
            "router_entropy[1]",
            "update_rms",
        ):
            assert series[name], name
    assert ranks[0]["loss"] != ranks[1]["loss"]
    # What depends on weights alone is the same everywhere, where every rank has all of them
    if run == "ddp":
        for series in ranks:
            for name in ("norm_weight_rms[0]", "router_similarity[1]", "learning_rate"):
                assert series[name] == pytest.approx(ranks[0][name], rel=1e-6)


def test_norms_that_clipping_has_joined_are_whole_and_others_are_left_out(trained: Any) -> None:
    _, folder = trained
    ddp, fsdp, told = (series_of(folder, run, 0) for run in ("ddp", "fsdp", "told"))
    for series in (fsdp, told):
        assert len(series["grad_norm"]) == 12 and not series["canary_grad_norm"]
        assert series["grad_norm"][0] == pytest.approx(ddp["grad_norm"][0], rel=1e-3)
    assert ddp["canary_grad_norm"]
    assert ddp["layer_amax_forward_max[3]"][5] == pytest.approx(
        fsdp["layer_amax_forward_max[3]"][5], rel=1e-2
    )


def test_a_probe_on_one_rank_only_makes_nobody_wait(trained: Any) -> None:
    _, folder = trained
    assert list(series_of(folder, "one", 0)["loss"]) == list(range(12))
    assert not (folder / "runs" / "one" / "rank-1").exists()


def test_it_is_one_run_of_many_ranks(trained: Any) -> None:
    size, folder = trained
    declared = sorted(path.name for path in (folder / "runs" / "ddp").glob("rank-*.json"))
    assert declared == [f"rank-{rank}.json" for rank in range(size)]
