"""Normalisations and the output's partition function against float64."""

import math

import pytest
import torch
from torch import nn

from foreshock.probe.faults import Faults
from foreshock.probe.findings import look_at
from foreshock.probe.observers import NormObserver, PartitionObserver

from .conftest import Bench


def test_sizes_of_inputs_and_weights_by_layer(bench: Bench) -> None:
    norms = [nn.LayerNorm(16), nn.RMSNorm(16)]
    with torch.no_grad():
        norms[0].weight.mul_(3.0)
    faults = Faults()
    bench.start(NormObserver(norms, num_sampled_tokens=1000, faults=faults))
    x = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0))
    for number, norm in enumerate(norms):
        norm(x * 10**number)
    bench.end_step()
    rms = float(x[:, 1:].double().square().mean().sqrt())
    assert not faults.counts
    assert bench.read() == {
        "norm_input_rms[0]": pytest.approx(rms, rel=1e-5),
        "norm_input_rms[1]": pytest.approx(10 * rms, rel=1e-5),
        "norm_weight_rms[0]": pytest.approx(3.0),
        "norm_weight_rms[1]": pytest.approx(1.0),
    }


def test_the_partition_function_of_large_logits(bench: Bench) -> None:
    head = nn.Identity()
    bench.start(PartitionObserver(head, Faults()))
    logits = 300 * torch.randn(3, 5, 50, generator=torch.Generator().manual_seed(1)).bfloat16()
    head(logits)
    wanted = logits[:, 1:].double().logsumexp(-1)
    found = bench.read()
    assert found["log_z_mean"] == pytest.approx(float(wanted.mean()), rel=1e-5)
    assert found["log_z_max"] == pytest.approx(float(wanted.max()), rel=1e-5)
    head(logits.masked_fill(logits > 0, math.nan))
    assert math.isnan(bench.read()["log_z_mean"])


class Decoder(nn.Module):
    """An embedding of 11 tokens, norms of the stream and of heads, two maps of which one is the head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.norm, self.query_norm = nn.RMSNorm(16), nn.RMSNorm(4)
        self.map, self.head = nn.Linear(16, 16), nn.Linear(16, 11)


def test_head_and_norms_are_known_by_their_shapes() -> None:
    model = Decoder()
    found = look_at(model)
    assert found.head == ("head", model.head) and found.embedding == ("embedding", model.embedding)
    assert found.norms == (("norm", model.norm),)
    assert look_at(nn.Linear(3, 3)).head is None
