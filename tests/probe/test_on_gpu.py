"""The probe where a model trains on a GPU: it sees what it sees on a CPU, and never waits for the device."""

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.benchmarks.probe_overhead import Stack

from foreshock.probe import Probe, attach
from foreshock.probe.host import HostMeter, hardware
from foreshock.probe.rows import Row
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.optimizers import build_optimizer
from foreshock.reference_models.train_config import OptimizerConfig, TrainConfig
from foreshock.reference_models.transformer import Transformer
from foreshock.wire import parse_column

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA or ROCm device"),
]

GPU = torch.device("cuda")
MODELS: dict[str, dict[str, Any]] = {
    "residual": {"connection": "residual"},
    "hc": {"connection": "hc"},
    "mhc": {"connection": "mhc"},
    "mhc_v4": {"connection": "mhc_v4", "exit": "v4_head", "swiglu_clamp": 10.0, "qk_norm": True},
    "experts": {"connection": "mhc", "num_experts": 4, "num_hash_layers": 1},
}
# What a step takes and what the host is doing is no property of the model
OF_THE_MACHINE = ("_seconds", "_bytes", "_percent", "gpu_")


class Training:
    """A reference model with Muon and AdamW, whose batches depend on the step alone."""

    def __init__(self, options: dict[str, Any], device: torch.device) -> None:
        config = ModelConfig.sized(options["connection"], 2, width=64, context=32, **without_name(options))
        self.device = device
        self.model = Transformer(config, seed=0).to(device)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if ".mixing." in name:
                    noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
                    parameter.add_(0.3 * noise.to(device))
        train = TrainConfig(model=config, optimizer=OptimizerConfig(name="muon"))
        self.optimizer = build_optimizer(self.model, train)
        generator = torch.Generator().manual_seed(0)
        # On the device from the start: a batch that is brought there each step waits for its copy
        self.windows = [torch.randint(0, 256, (4, 33), generator=generator).to(device) for _ in range(8)]
        self.domains = torch.tensor([0.0, 1.0, 2.0, 3.0]).to(device)

    def step(self, number: int, probe: Probe | None) -> float | torch.Tensor:
        """One step with everything that a loop can tell a probe of."""
        if probe:
            probe.domains(["code", "code", "prose", "prose"], self.domains)
        loss = self.model.loss(self.windows[number % 8])
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        if probe:
            probe.log({"given": loss.detach()})
            probe.step(loss)
        return loss.detach()


def without_name(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "connection"}


@pytest.fixture(autouse=True)
def in_whole_float32() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def waits(work: Callable[[], object]) -> list[str]:
    """Where torch has waited for the device meanwhile, as file and line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [f"{one.filename}:{one.lineno}" for one in caught if "synchroniz" in str(one.message)]
    # The mode warns of itself; and the writer has a thread of its own to wait in
    return [place for place in places if "torch/cuda/__init__" not in place and "probe/writer" not in place]


@pytest.mark.parametrize("name", MODELS)
def test_a_step_waits_for_the_device_no_more_than_without_the_probe(name: str, tmp_path: Path) -> None:
    """Experts wait themselves, to sort their tokens; deep is every signal, composites and tear too."""

    def waiting(watched: bool) -> list[str]:
        training = Training(MODELS[name], GPU)
        probe = (
            attach(training.model, training.optimizer, mode="offline", directory=tmp_path, deep=True)
            if watched
            else None
        )
        for number in range(3):
            training.step(number, probe)
        found = waits(lambda: [training.step(number, probe) for number in range(3, 6)])
        if probe:
            probe.finish()
            assert not probe.faults.counts and probe.num_dropped_frames == 0
        return found

    plain, watched = waiting(False), waiting(True)
    assert not [place for place in watched if "/probe/foreshock/" in place]
    assert len(watched) == len(plain), (plain, watched)


def test_extra_forward_passes_wait_no_more_than_the_model_does(tmp_path: Path) -> None:
    """Its experts do, to sort their tokens: in the replay and the trust ratio as in training."""
    training = Training(MODELS["experts"], GPU)
    probe = attach(training.model, training.optimizer, mode="offline", directory=tmp_path, deep=True)

    def step(number: int) -> None:
        window = training.windows[number % 8]
        loss = training.model.loss(window)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        probe.replay(lambda: training.model(window[:, :-1]))
        probe.trust(loss, lambda: training.model.loss(window))
        probe.step(loss)

    for number in range(3):
        step(number)
    found = waits(lambda: [step(number) for number in range(3, 6)])
    probe.finish()
    assert not probe.faults.counts
    assert found and not [place for place in found if "/probe/foreshock/" in place]


@pytest.mark.parametrize("name", MODELS)
def test_it_shows_what_it_shows_on_a_cpu(name: str, tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    def recorded(device: torch.device) -> Any:
        training = Training(MODELS[name], device)
        probe = attach(
            training.model, training.optimizer, mode="offline", directory=tmp_path, deep=True, layers="all"
        )
        for number in range(3):
            training.step(number, probe)
        probe.finish()
        assert not probe.faults.counts
        return read_spool(probe).series

    expected, found = recorded(torch.device("cpu")), recorded(GPU)
    assert expected.keys() <= found.keys()
    apart = []
    for column, points in expected.items():
        signal = parse_column(column).signal
        if signal is None or any(word in column for word in OF_THE_MACHINE):
            continue
        assert found[column].keys() == points.keys(), column
        for step, value in points.items():
            other = found[column][step]
            # Muon's orthogonal update is computed in bfloat16, whose rounding is each device's own
            allowed = 1e-1 if column.startswith("muon") else 2e-2
            close = math.isclose(other, value, rel_tol=allowed, abs_tol=5e-3)
            # Small singular values of a product lie below what float32 tells from nothing
            if not close and not signal.name.startswith(("log_singular", "log_stream")):
                apart.append((column, step, value, other))
    assert not apart, apart[:20]


def test_composites_keep_small_singular_values_as_on_a_cpu(
    tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    """Of four streams over few layers all are within float32's reach."""

    def recorded(device: torch.device) -> Any:
        training = Training(MODELS["hc"], device)
        probe = attach(training.model, training.optimizer, mode="offline", directory=tmp_path, deep=True)
        training.step(0, probe)
        probe.finish()
        return read_spool(probe).series

    expected, found = recorded(torch.device("cpu")), recorded(GPU)
    names = [name for name in expected if name.startswith(("log_singular", "log_stream"))]
    assert names
    for name in names:
        assert found[name] == pytest.approx(expected[name], rel=1e-2, abs=1e-2), name


def test_training_is_bit_for_bit_the_same_with_and_without_the_probe(tmp_path: Path) -> None:
    found = []
    for watched in (False, True):
        training = Training(MODELS["mhc"], GPU)
        probe = (
            attach(training.model, training.optimizer, mode="offline", directory=tmp_path, deep=True)
            if watched
            else nullcontext()
        )
        with probe as running:
            losses = [float(training.step(number, running)) for number in range(5)]
        found.append((losses, [p.detach().clone() for p in training.model.parameters()]))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(a, b) for a, b in zip(found[0][1], found[1][1], strict=True))


def test_a_hundred_layers_hold_less_than_eight_mebibytes(tmp_path: Path) -> None:
    def held(watched: bool) -> int:
        model = Stack(100, 4, 256).to(GPU)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        probe = attach(model, optimizer, mode="offline", directory=tmp_path) if watched else None
        for _ in range(12):
            loss = model(torch.zeros(8, 256, dtype=torch.long, device=GPU)).square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if probe:
                probe.step(loss)
        del loss
        optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        found = torch.cuda.memory_allocated()
        if probe:
            probe.finish()
        return found

    held(False)
    assert held(True) - held(False) < 8 * 2**20


def test_a_row_without_a_free_slot_is_dropped_instead_of_waited_for() -> None:
    row = Row(3, GPU)
    pending = []
    for number in range(64):
        row.values.fill_(number)
        pending.append(row.send())
    row.values.fill_(64.0)
    assert row.send() is None
    values = [one.wait().tolist() for one in pending if one]
    assert values == [[float(number)] * 3 for number in range(64)]
    row.values.fill_(65.0)
    last = row.send()
    assert last is not None and last.wait().tolist() == [65.0] * 3


# Of inductor's imports
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_model_compiled_for_the_device_trains_and_is_seen(
    mode: str, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    """With "reduce-overhead" torch replays recorded launches, and what hooks write is replayed with them."""

    def trained(watched: bool, compiled: bool) -> tuple[list[float], Any]:
        torch._dynamo.reset()
        training = Training(MODELS["mhc"], GPU)
        call = torch.compile(training.model, mode=mode) if compiled else training.model
        optimizer = torch.optim.AdamW(training.model.parameters(), lr=1e-3)
        probe = attach(call, optimizer, mode="offline", directory=tmp_path, deep=True) if watched else None
        losses = []
        for number in range(6):
            window = training.windows[number]
            logits = call(window[:, :-1])
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if probe:
                probe.step(loss)
            losses.append(float(loss))
        if probe is None:
            return losses, None
        probe.finish()
        assert not probe.faults.counts
        return losses, read_spool(probe).series

    plain, _ = trained(False, True)
    losses, compiled = trained(True, True)
    _, eager = trained(True, False)
    assert losses == pytest.approx(plain, rel=1e-4)
    for name in ("layer_amax_forward_max[1]", "stream_rms[2]", "composite_norm_two_max[3]"):
        assert compiled[name] == pytest.approx(eager[name], rel=1e-2), name


def test_the_device_itself_is_told() -> None:
    pytest.importorskip("pynvml")
    held = torch.ones(2**20, device=GPU)
    meter = HostMeter(0.0)
    row = meter.read()
    assert row is not None
    told = dict(zip(meter.columns, row.tolist(), strict=True))
    assert held.nbytes < told["gpu_memory_bytes"] < torch.cuda.get_device_properties().total_memory
    assert 0 < told["gpu_temperature"] < 120 and 0 < told["gpu_power_watts"] < 2000
    assert 0 <= told["gpu_utilisation_percent"] <= 100
    assert torch.cuda.get_device_name() == hardware()["gpu"]
