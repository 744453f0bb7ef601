"""Synthetic runs, modelled on what prototypes of the reference models measured."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from tests.server.judging.bench import Bench

from foreshock.server.alerts.life import Transition
from foreshock.server.detection.block import Block, block_of
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.settings import Settings

Row = dict[str, float]
Change = Callable[[int, Row], None]
FP16_MAX = 65504.0


@dataclass
class Trace:
    """A run as steps of named values; `log_gain(step)` is its worst composite amax, in logs."""

    num_steps: int = 200
    num_layers: int = 12
    seed: int = 0
    composite_every: int = 5
    log_gain: Callable[[int], float] = lambda step: 0.0
    loss: Callable[[int], float] = lambda step: 2.5 + 3 * math.exp(-step / 40)
    loss_noise: float = 0.04
    gain_noise: float = 0.01
    has_layers: bool = True
    changes: list[Change] = field(default_factory=list)

    def rows(self) -> Iterator[Row]:
        """One mapping of columns for each step."""
        rng = np.random.default_rng(self.seed)
        for step in range(self.num_steps):
            row = {
                "loss": self.loss(step) + self.loss_noise * float(rng.standard_normal()),
                "grad_norm": float(np.exp(0.2 * rng.standard_normal())),
            }
            row["clip_coefficient"] = min(1.0, 1.0 / row["grad_norm"])
            if self.has_layers:
                row |= self._layers(step, rng)
            for change in self.changes:
                change(step, row)
            yield row

    def _layers(self, step: int, rng: np.random.Generator) -> Row:
        row: Row = {}
        log_gain = self.log_gain(step)
        for layer in range(self.num_layers):
            own = math.exp(log_gain / self.num_layers + self.gain_noise * float(rng.standard_normal()))
            depth = (layer + 1) / self.num_layers
            for way in ("forward", "backward"):
                row[f"layer_amax_{way}_mean[{layer}]"] = own
                row[f"layer_amax_{way}_max[{layer}]"] = 1.1 * own
                if step % self.composite_every == 0:
                    noise = self.gain_noise * float(rng.standard_normal())
                    row[f"composite_amax_{way}_mean[{layer}]"] = math.exp(depth * log_gain + noise)
            if step % self.composite_every == 0:
                row[f"composite_smallest_sum_mean[{layer}]"] = math.exp(-0.2 * depth * abs(log_gain))
            row[f"stream_rms[{layer}]"] = 1.0 + 0.1 * layer
            row[f"stream_max[{layer}]"] = 5.0 * math.exp(depth * log_gain)
            row[f"layer_row_error_max[{layer}]"] = abs(own - 1)
            row[f"layer_column_error_max[{layer}]"] = abs(own - 1)
        row["headroom_bits"] = math.log2(FP16_MAX) - math.log2(5.0) - log_gain / math.log(2)
        row["canary_embedding_rms"] = 1.0 + 0.001 * step
        return row

    def block(self) -> Block:
        """The run as the judge sees it."""
        return joined(list(self.rows()))


def joined(rows: Sequence[Row], first_step: int = 0) -> Block:
    """Steps of named values as one block; what a step lacks is not present at it."""
    names = dict.fromkeys(name for row in rows for name in row)
    series = {name: [row.get(name, math.nan) for row in rows] for name in names}
    present = {name: np.array([name in row for row in rows]) for name in names}
    steps = np.arange(first_step, first_step + len(rows))
    return replace(block_of(series, steps, present), times=1000.0 + steps)


def dies_at(death: int) -> Change:
    """Everything that the model computes is NaN from a step on."""

    def change(step: int, row: Row) -> None:
        if step >= death:
            for name in row:
                row[name] = math.nan

    return change


def hc_dying(**settings: Any) -> Trace:
    """Unconstrained HC in fp16: composite gain 10 at step 55, 7,500 at 110, NaN at 118; loss falling."""
    growth = math.log(750) / 55
    return Trace(
        log_gain=lambda step: max(0.02, math.log(10) + growth * (step - 55)),
        changes=[dies_at(118)],
        **{"num_steps": 140, **settings},
    )


def hc_flat(**settings: Any) -> Trace:
    """Unconstrained HC that lives with a high gain which does not rise."""
    return Trace(log_gain=lambda step: math.log(18), gain_noise=0.03, **settings)


def mhc(**settings: Any) -> Trace:
    """mHC: composite gain 1.08, rows exact, columns with Sinkhorn's truncation error."""

    def constrain(step: int, row: Row) -> None:
        for name in list(row):
            if name.startswith("layer_row_error"):
                row[name] = 2e-7
                row[name.replace("row", "column")] = 0.02
                row[name.replace("row_error", "negativity")] = 0.0
                row[name.replace("row_error", "norm_two")] = 1.01

    return Trace(log_gain=lambda step: math.log(1.08), gain_noise=0.004, changes=[constrain], **settings)


def residual(**settings: Any) -> Trace:
    """A plain residual run: loss and gradient norm, nothing else."""
    return Trace(has_layers=False, **settings)


@dataclass(frozen=True)
class Traces:
    """What tests build runs from."""

    Trace = Trace
    joined = staticmethod(joined)
    dies_at = staticmethod(dies_at)
    hc_dying = staticmethod(hc_dying)
    hc_flat = staticmethod(hc_flat)
    mhc = staticmethod(mhc)
    residual = staticmethod(residual)

    @staticmethod
    def judge(
        trace: Trace | Block, *, schedule: tuple[int, str] | None = None, **said: Any
    ) -> list[Transition]:
        """All transitions of a run that is judged with the default rules."""
        block = trace.block() if isinstance(trace, Trace) else trace
        total = said.pop("total_steps", len(block))
        detector = Detector(RunContext(total_steps=total, **said))
        if schedule is None:
            return detector.judge(block)
        cut = int(np.searchsorted(block.steps, schedule[0]))
        before = detector.judge(block.part(0, cut))
        detector.note_schedule(*schedule)
        return before + detector.judge(block.part(cut, len(block)))


@pytest.fixture
def traces() -> Traces:
    return Traces()


@pytest.fixture(scope="session")
def traces_type() -> type[Traces]:
    """The same, for hypothesis, whose examples share fixtures."""
    return Traces


@pytest.fixture
def settings(backend: str) -> Settings:
    """A collector whose own judge never gets to a turn: tests take the turns themselves."""
    return Settings(db=backend, judge_interval_seconds=100_000)


@pytest.fixture
def bench(http: Any) -> Bench:
    """A collector's database with a judge that takes its turns by hand."""
    return Bench(http.app.state.collector.engine)


@pytest.fixture
def dying(traces: Any) -> list[Row]:
    """An HC run that dies, step by step."""
    return list(traces.hc_dying().rows())
