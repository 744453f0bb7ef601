"""What an attached probe adds to a training step of the reference mHC model.

Two equal models train in one process on the same batches, one watched, one not, in alternating order; each
pair of steps gives a ratio. Halfway they change roles: of two equal models one is up to 2 % slower for as
long as it lives, by where its memory lies. The total tells what a median would hide: work that is done once
in ten steps.
`own` is what the probe itself counts of the training thread (`probe_seconds`), which a busy machine blurs
less than a difference of two steps.
"""

import itertools
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foreshock.probe import Probe, attach
from foreshock.probe.budget import WINDOW_STEPS
from foreshock.reference_models.corpus import Batches, load_domains
from foreshock.reference_models.train import TrainConfig, build_optimizer
from foreshock.reference_models.transformer import ModelConfig, Transformer

WARMUP_STEPS = 4
BATCH = 8
DEFAULT = ModelConfig(connection="mhc")
SMALL = ModelConfig(connection="mhc", num_blocks=6, width=64, context=64)

Watch = Callable[["Contestant", str], Callable[[Tensor], None]]


class Contestant:
    """One model with its optimizer, watched by something or by nothing."""

    def __init__(self, model: ModelConfig) -> None:
        config = TrainConfig(model=model)
        self.model = Transformer(model, seed=0)
        self.optimizer = build_optimizer(self.model, config)
        self.batches = Batches(load_domains(()), batch_size=BATCH, context=model.context, seed=0)
        self.probe: Probe | None = None
        self.after_step: Callable[[Tensor], None] = lambda loss: None
        self.leave: Callable[[], None] = lambda: None

    def step(self) -> float:
        """Seconds of one step."""
        window_BS = self.batches.draw()
        begun = time.perf_counter()
        loss = self.model.loss(window_BS)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.after_step(loss)
        return time.perf_counter() - begun

    def trust(self, loss: Tensor) -> None:
        """Asks for the trust ratio, with the batch drawn anew: one more forward pass of the same size."""
        assert self.probe is not None
        window_BS = self.batches.draw()
        self.probe.trust(loss, lambda: self.model.loss(window_BS))


def probed(**options: Any) -> Watch:
    """A probe with these options."""

    def watch(contestant: Contestant, folder: str) -> Callable[[Tensor], None]:
        contestant.probe = attach(
            contestant.model, contestant.optimizer, mode="offline", directory=folder, **options
        )
        contestant.leave = contestant.probe.finish
        return contestant.probe.step

    return watch


def wandb_watch(log: str) -> Watch:
    """`wandb.watch` at its own cadence of every step, offline."""

    def watch(contestant: Contestant, folder: str) -> Callable[[Tensor], None]:
        import wandb

        run = wandb.init(
            mode="offline", project="bench", dir=folder, settings=wandb.Settings(silent=True), reinit=True
        )
        run.watch(contestant.model, log=log, log_freq=1)

        def leave() -> None:
            run.unwatch(contestant.model)
            run.finish()

        contestant.leave = leave
        return lambda loss: run.log({"loss": loss.item()})

    return watch


def measure_model(model: ModelConfig, watch: Watch, *, num_steps: int) -> dict[str, Any]:
    """Ratios of step times, watched over unwatched; the geometric mean of both halves' totals and medians."""
    one, other = Contestant(model), Contestant(model)
    halves = [_measure_half(*pair, watch, num_steps // 2) for pair in ((one, other), (other, one))]
    result: dict[str, Any] = {"steps": num_steps}
    result["plain_step_ms"] = statistics.mean(half["plain_step_ms"] for half in halves)
    for name in ("total", "median"):
        ratios = [half[name] for half in halves]
        result[f"{name}_overhead_percent"] = 100 * (math.prod(ratios) ** 0.5 - 1)
        result[f"{name}_overhead_percent_by_half"] = [100 * (ratio - 1) for ratio in ratios]
    if "own" in halves[0]:
        result["own_percent"] = 100 * statistics.mean(half["own"] for half in halves)
        result["cadences"] = halves[1]["cadences"]
    return result


def _measure_half(watched: Contestant, plain: Contestant, watch: Watch, num_steps: int) -> dict[str, Any]:
    pairs: list[tuple[float, float]] = []
    own = 0.0
    with tempfile.TemporaryDirectory() as folder:
        watched.after_step = watch(watched, folder)
        for step in range(num_steps + WARMUP_STEPS):
            if step == WARMUP_STEPS and watched.probe is not None:
                own = -_own_seconds(watched.probe)
            first, second = (watched, plain) if step % 2 else (plain, watched)
            seconds = {first: first.step(), second: second.step()}
            pairs.append((seconds[watched], seconds[plain]))
        pairs = pairs[WARMUP_STEPS:]
        plain_total = sum(p for _, p in pairs)
        half: dict[str, Any] = {
            "plain_step_ms": 1e3 * statistics.median(p for _, p in pairs),
            "total": sum(w for w, _ in pairs) / plain_total,
            "median": statistics.median(w / p for w, p in pairs),
        }
        if watched.probe is not None:
            half["own"] = (own + _own_seconds(watched.probe)) / plain_total
            half["cadences"] = dict(watched.probe._instruments.clock.every)
        watched.leave()
        watched.probe, watched.after_step = None, lambda loss: None
    return half


def measure_budget(model: ModelConfig, *, num_steps: int) -> dict[str, Any]:
    """What the probe counts of its own, window by window, of a model that trains alone: how it keeps 1 %."""
    contestant = Contestant(model)
    with tempfile.TemporaryDirectory() as folder:
        contestant.after_step = probed()(contestant, folder)
        probe = contestant.probe
        assert probe is not None
        shares = []
        for _ in range(num_steps // WINDOW_STEPS):
            own = -_own_seconds(probe)
            seconds = sum(contestant.step() for _ in range(WINDOW_STEPS))
            shares.append(round(100 * (own + _own_seconds(probe)) / seconds, 2))
        cadences = dict(probe._instruments.clock.every)
        probe.finish()
    return {"own_percent_by_window": shares, "steps_a_window": WINDOW_STEPS, "cadences": cadences}


def _own_seconds(probe: Probe) -> float:
    """What the probe has taken of the training thread since attach, its extra forward passes left out."""
    spent = probe._instruments.clock.spent
    return sum(seconds for account, seconds in spent.items() if account != "rare")


def measure_extra_forward() -> dict[str, float]:
    """What `probe.trust` adds, told apart: one forward pass in 50 steps, here measured at each of 8 steps."""
    contestant = Contestant(DEFAULT)
    with tempfile.TemporaryDirectory() as folder:
        contestant.after_step = probed(deep=True)(contestant, folder)
        probe = contestant.probe
        assert probe is not None
        seconds = sum(contestant.step() for _ in range(8))
        spent = probe._instruments.clock.spent
        asked = spent["rare"]

        def step(loss: Tensor) -> None:
            contestant.trust(loss)
            probe.step(loss)

        contestant.after_step = step
        for _ in range(8):
            contestant.step()
        probe.finish()
    share = (spent["rare"] - asked) / seconds
    return {"percent_of_a_step_when_taken": 100 * share, "percent_at_every_50_steps": 100 * share / 50}


class Mixing(nn.Module):
    """Returns given matrices and gates: all of a hyper-connection that a probe looks at."""

    is_stream_mixing = True

    def __init__(self, num_streams: int) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.eye(num_streams) + 0.01 * torch.randn(num_streams, num_streams))

    def forward(self, x_BSnC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gates of 1, and the matrix for every token."""
        gates = x_BSnC.new_ones(x_BSnC.shape[:3])
        return gates, gates, self.matrix.expand(*x_BSnC.shape[:2], -1, -1)


class Stack(nn.Module):
    """Layers of mixing and nothing else: what grows with them is the probe's."""

    def __init__(self, num_layers: int, num_streams: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(256, width)
        self.layers = nn.ModuleList(Mixing(num_streams) for _ in range(num_layers))
        self.num_streams = num_streams

    def forward(self, tokens_BS: Tensor) -> Tensor:
        """The sum of the streams behind the last layer."""
        x_BSnC = self.embedding(tokens_BS).unsqueeze(2).repeat(1, 1, self.num_streams, 1)
        for layer in self.layers:
            _, _, matrix = layer(x_BSnC)
            x_BSnC = matrix @ x_BSnC
        return x_BSnC.sum(2)


def measure_scale(num_layers: int, num_streams: int, num_tokens: int, width: int = 256) -> dict[str, Any]:
    """Milliseconds a step of the training thread, by what for, and bytes that are held between steps."""
    model = Stack(num_layers, num_streams, width)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with tempfile.TemporaryDirectory() as folder:
        probe = attach(model, optimizer, mode="offline", directory=folder, budget=None)
        clock, before = probe._instruments.clock, {}
        for step in range(23):
            if step == 3:
                before = dict(clock.spent)
            loss = model(torch.randint(256, (BATCH, num_tokens // BATCH))).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        held = _held_bytes(probe, model)
        spent = {account: clock.spent[account] - before[account] for account in clock.spent}
        probe.finish()
    return {
        "layers": num_layers,
        "streams": num_streams,
        "tokens": num_tokens,
        "ms_a_step": 1e3 * sum(spent.values()) / 20,
        "of_it_at_every_step_ms": 1e3 * (spent["step"] + spent["always"]) / 20,
        "a_slow_reading_ms": 1e3 * spent["slow"] / 2,
        "a_composite_reading_ms": 1e3 * spent["composite"] / 2,
        "held_mib": held / 2**20,
    }


def _held_bytes(probe: Probe, model: nn.Module) -> int:
    """The bytes of all tensors that the probe's instruments refer to, the model's own left out."""
    own = {id(one) for one in (*model.parameters(), *model.buffers())} | {id(one) for one in model.modules()}
    seen, storages, waiting = set(own), dict[int, int](), [probe._instruments]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, type | torch.optim.Optimizer):
            continue
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            storage = thing.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(thing, dict):
            waiting += thing.values()
        elif isinstance(thing, list | tuple | set | frozenset):
            waiting += thing
        elif type(thing).__module__.startswith("foreshock."):
            slots = itertools.chain.from_iterable(
                getattr(kind, "__slots__", ()) for kind in type(thing).__mro__
            )
            waiting += [getattr(thing, name, None) for name in slots]
            waiting += vars(thing).values() if hasattr(thing, "__dict__") else ()
    return sum(storages.values())


def measure_wandb(log: str) -> dict[str, Any] | str:
    """`wandb.watch` in a process of its own, or why there is none; its own threads are no concern of ours."""
    code = (
        "import json, torch\n"
        "torch.set_num_threads(1)\n"
        "from tests.benchmarks.probe_overhead import *\n"
        f"print('RESULT' + json.dumps(measure_model(DEFAULT, wandb_watch({log!r}), num_steps=12)))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT"):
            found: dict[str, Any] = json.loads(line.removeprefix("RESULT"))
            return found
    return (done.stderr.strip().splitlines() or ["no output"])[-1]


def measure() -> dict[str, Any]:
    """The reference model, a small one, wandb.watch beside them, and how the cost grows."""
    # One thread: on a shared machine two wait for each other, and the ratio measures the waiting
    torch.set_num_threads(1)
    scale = [(12, 4, 2048), (48, 4, 2048), (96, 4, 2048), (100, 4, 2048)]
    scale += [(48, 2, 2048), (48, 8, 2048), (48, 4, 512), (48, 4, 8192)]
    return {
        "threads": 1,
        "default_size": measure_model(DEFAULT, probed(), num_steps=100),
        "default_size_deep": measure_model(DEFAULT, probed(deep=True), num_steps=40),
        "extra_forward": measure_extra_forward(),
        "wandb_watch": {log: measure_wandb(log) for log in ("gradients", "all")},
        "small": measure_model(SMALL, probed(budget=None), num_steps=200),
        "small_within_the_budget": measure_budget(SMALL, num_steps=400),
        "scale": [measure_scale(*size) for size in scale],
    }
