"""Training: repeatable, guarded by golden curves, and clear about runs that die."""

import dataclasses
import json
import math
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from foreshock.kernels import use_backend
from foreshock.reference_models.corpus import Domain
from foreshock.reference_models.errors import ConfigError
from foreshock.reference_models.train import StepReport, TrainConfig, build_optimizer, train
from foreshock.reference_models.transformer import ModelConfig, Transformer

GOLDEN = Path(__file__).parent / "golden"
CONNECTIONS = ("residual", "hc", "mhc")


@pytest.fixture(scope="module")
def domains() -> tuple[Domain, ...]:
    """Text that is the same under every Python: Zipf-like words from a written-out generator."""
    state, words = 12345, []
    for _ in range(6000):
        state = (state * 1103515245 + 12345) % 2**31
        words.append(f"w{int(200 ** (state / 2**31))}")
    text = " ".join(words).encode()
    return (Domain("words", "a test", torch.frombuffer(bytearray(text), dtype=torch.uint8)),)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def config(connection: str, **changes: object) -> TrainConfig:
    model = ModelConfig.sized(connection, 2, width=32, context=32)
    base = TrainConfig(model=model, num_steps=30, learning_rate=1e-2, warmup_steps=5, batch_size=4)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


class RecordingProbe:
    """A probe that remembers what the trainer told it."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, float]] = []
        self.notes: list[str] = []
        self.ending: str | None = None

    def step(self, *, loss: torch.Tensor, step: int) -> None:
        assert self.ending is None
        self.steps.append((step, loss.item()))

    def note(self, kind: str, **detail: str | int | float | bool | None) -> None:
        self.notes.append(kind)

    def finish(self, state: str = "finished") -> None:
        self.ending = state


@pytest.mark.parametrize("connection", CONNECTIONS)
def test_a_seeded_run_repeats_bit_for_bit_and_keeps_to_its_golden_curve(
    connection: str, domains: tuple[Domain, ...]
) -> None:
    first, again = (train(config(connection), domains=domains) for _ in range(2))
    assert first.losses == again.losses
    golden = GOLDEN / f"{connection}.json"
    if os.environ.get("FORESHOCK_WRITE_GOLDEN") == "1":
        golden.write_text(json.dumps({"losses": first.losses}, indent=1) + "\n")
    expected = json.loads(golden.read_text())["losses"]
    # CPUs differ in the last digits, and training lets them grow.
    assert first.losses[:10] == pytest.approx(expected[:10], rel=1e-5)
    assert first.losses == pytest.approx(expected, rel=1e-3)
    assert first.losses[-1] < 0.75 * first.losses[0]


def test_another_seed_is_another_run(domains: tuple[Domain, ...]) -> None:
    runs = [train(config("hc", num_steps=2, seed=seed), domains=domains) for seed in (0, 1)]
    assert runs[0].losses != runs[1].losses


@pytest.mark.parametrize("clip", [1.0, None])
def test_mhc_with_one_stream_and_frozen_gates_trains_as_the_residual_bit_for_bit(
    domains: tuple[Domain, ...], clip: float | None
) -> None:
    frozen = ModelConfig("mhc", num_blocks=2, width=32, context=32, num_streams=1, frozen_gates=True)
    as_mhc = train(config("mhc", model=frozen, clip=clip), domains=domains)
    as_residual = train(config("residual", clip=clip), domains=domains)
    assert as_mhc.losses == as_residual.losses


@pytest.mark.parametrize("num_steps", [40, pytest.param(200, marks=pytest.mark.grid)])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 2e-2)])
@pytest.mark.parametrize("connection", ["hc", "mhc"])
def test_the_reference_kernels_give_the_same_curve(
    connection: str, precision: str, tolerance: float, num_steps: int, domains: tuple[Domain, ...]
) -> None:
    model = dataclasses.replace(config(connection).model, precision=precision)
    long = config(connection, model=model, num_steps=num_steps, learning_rate=3e-3)
    fused = train(long, domains=domains)
    with use_backend("reference"):
        readable = train(long, domains=domains)
    assert fused.losses == pytest.approx(readable.losses, rel=0, abs=tolerance)
    assert fused.losses != readable.losses, "the same bits: nothing was switched"


def test_watching_changes_no_bit(domains: tuple[Domain, ...]) -> None:
    plain = train(config("mhc", num_steps=8), domains=domains)
    reports: list[StepReport] = []
    probe = RecordingProbe()
    watched = train(
        config("mhc", num_steps=8), attach=lambda *_: probe, on_step=reports.append, domains=domains
    )
    assert watched.losses == plain.losses
    assert probe.steps == list(enumerate(plain.losses))
    assert probe.ending == "finished"
    gains = [report.gain for report in reports]
    assert gains[0] == pytest.approx(1.0, abs=0.05)
    assert gains[5] == pytest.approx(1.0, abs=0.05)
    assert gains[1] is None


def test_a_run_whose_loss_stays_nonfinite_stops_and_says_so(domains: tuple[Domain, ...]) -> None:
    probe = RecordingProbe()

    def attach(model: nn.Module, optimizer: torch.optim.Optimizer) -> RecordingProbe:
        with torch.no_grad():
            model.get_parameter("head.weight")[0, 0] = math.nan
        return probe

    result = train(config("hc", max_nonfinite_steps=4), attach=attach, domains=domains)
    assert (result.state, result.death_step, len(result.losses)) == ("diverged", 0, 4)
    assert math.isnan(result.final_loss)
    assert math.isnan(result.last_finite_loss)
    assert (probe.notes, probe.ending) == (["diverged"], "crashed")


def test_a_half_precision_stream_dies_of_a_gain_that_float32_survives(domains: tuple[Domain, ...]) -> None:
    def blow_up(model: nn.Module, optimizer: torch.optim.Optimizer) -> RecordingProbe:
        with torch.no_grad():
            for layer in range(4):
                model.get_parameter(f"layers.{layer}.mixing.static_res").mul_(30.0)
        return RecordingProbe()

    model = dataclasses.replace(config("hc").model, precision="fp16")
    half = train(config("hc", model=model), attach=blow_up, domains=domains)
    full = train(config("hc", num_steps=5), attach=blow_up, domains=domains)
    assert half.state == "diverged"
    assert full.state == "finished"


def test_an_exception_in_the_loop_is_told_to_the_probe(domains: tuple[Domain, ...]) -> None:
    probe = RecordingProbe()

    def stop(report: StepReport) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config("hc"), attach=lambda *_: probe, on_step=stop, domains=domains)
    assert probe.ending == "crashed"


def test_only_matrices_of_the_sublayers_and_the_head_decay() -> None:
    model = Transformer(config("mhc").model)
    decay, rest = build_optimizer(model, config("mhc")).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decaying = {names[id(parameter)] for parameter in decay["params"]}
    assert decay["weight_decay"] == 0.1
    assert rest["weight_decay"] == 0.0
    assert len(decay["params"]) + len(rest["params"]) == len(names)
    assert decaying == {"head.weight"} | {
        f"layers.{layer}.sublayer.{part}.weight"
        for layer in range(4)
        for part in (("qkv", "out") if layer % 2 == 0 else ("up", "down"))
    }


def test_the_loss_scale_costs_no_digit_in_float32(domains: tuple[Domain, ...]) -> None:
    runs = [train(config("hc", num_steps=6, loss_scale=scale), domains=domains) for scale in (1.0, 1024.0)]
    assert runs[0].losses == runs[1].losses


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_steps": 0}, "num_steps is 0; give 1 or more"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"learning_rate": math.nan}, "learning_rate is nan; give a number above 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"clip": 0.0}, "clip is 0.0; give a threshold above 0"),
        ({"loss_scale": -1.0}, "loss_scale is -1.0"),
        ({"seed": -1}, "seed is -1"),
        ({"device": "abacus"}, "'abacus'; give cpu, cuda"),
        ({"device": "meta"}, "'meta'; give cpu, cuda"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_words(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config("hc", **changes)
