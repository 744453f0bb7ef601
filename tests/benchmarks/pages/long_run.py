"""A long run as a probe sends it: per-layer signals of the catalogue and the run's own, step by step."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.served import Connection

from foreshock.wire import WIRE_VERSION, Body, Layout, Record, encode_body, encode_record, make_batch

Values = NDArray[np.float32]

STEP_SECONDS: Final = 0.3
# 20 signals of every layer: those that the figures above the fold show first, then others of the catalogue
PER_LAYER: Final = (
    "layer_amax_forward_mean",
    "layer_amax_forward_max",
    "layer_amax_backward_mean",
    "layer_amax_backward_max",
    "composite_amax_forward_mean",
    "composite_amax_forward_max",
    "composite_amax_backward_mean",
    "composite_amax_backward_max",
    "stream_rms",
    "stream_max",
    "layer_norm_two_mean",
    "layer_norm_two_max",
    "layer_row_error_mean",
    "layer_column_error_mean",
    "identity_distance_mean",
    "pre_cancellation_mean",
    "post_cancellation_mean",
    "logit_range_max",
    "swiglu_saturation",
    "max_attention_logit",
)
OF_RUN: Final = (
    "loss",
    "learning_rate",
    "grad_norm",
    "grad_norm_clipped",
    "clip_coefficient",
    "step_seconds",
    "canary_embedding_rms",
    "headroom_bits",
)


@dataclass
class LongRun:
    """One healthy run of `num_layers` x `num_signals` series, drawn anew and alike for every reader."""

    run_id: str
    num_layers: int = 50
    num_signals: int = 20
    seed: int = 0
    _sequence: int = 0
    _next_step: int = 0
    _drift: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)
        self._drift = np.zeros(self.num_layers)

    @property
    def num_steps(self) -> int:
        """How many steps there are so far."""
        return self._next_step

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The run's own columns, then every layer of every signal."""
        of_layers = PER_LAYER[: self.num_signals]
        return (*OF_RUN, *(f"{name}[{layer}]" for name in of_layers for layer in range(self.num_layers)))

    def blocks(self, num_steps: int, at_once: int = 1000) -> Iterator[tuple[NDArray[np.int64], Values]]:
        """The next steps [k] and values [k, columns], `at_once` steps at a time."""
        end = self._next_step + num_steps
        while self._next_step < end:
            steps = np.arange(self._next_step, min(end, self._next_step + at_once))
            self._next_step = int(steps[-1]) + 1
            yield steps, self._values(steps)

    def declare(self, connection: Connection, total_steps: int, started_at: float) -> None:
        """Makes the run known."""
        connection.declare(
            self.run_id,
            total_steps=total_steps,
            started_at=started_at,
            constraint="doubly_stochastic",
            config={"connection": "mhc", "num_layers": self.num_layers, "precision": "bf16"},
        )

    def send(self, connection: Connection, num_steps: int, started_at: float) -> None:
        """Trains so many steps and sends them."""
        for steps, values in self.blocks(num_steps, at_once=250):
            records: list[Record] = []
            if self._sequence == 0:
                records.append(Layout(self._take(), 0, "step", self.columns))
            times = started_at + STEP_SECONDS * steps.astype(np.float64)
            records.append(make_batch(self._take(), 0, steps, times, values))
            encoded = [encode_record(record) for record in records]
            body = encode_body(Body(WIRE_VERSION, self.run_id, 0, 0, "bench", 0, encoded))
            connection.append(self.run_id, body)

    def _take(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _values(self, steps: NDArray[np.int64]) -> Values:
        noise = self._random.standard_normal((len(steps), self.num_layers))
        drift = self._drift + 1e-5 * noise.cumsum(0)
        self._drift = drift[-1]
        log_gains = drift + 0.004 * noise
        forward, backward = log_gains.cumsum(1), log_gains[:, ::-1].cumsum(1)[:, ::-1]
        shapes = (log_gains, 1.5 * log_gains, 0.8 * log_gains, 1.2 * log_gains)
        of_layers = [*shapes, forward, 1.3 * forward, backward, 1.2 * backward]
        of_layers += [forward + 0.1 * number for number in range(len(PER_LAYER) - len(of_layers))]
        parts = [self._of_run(steps, forward), *map(np.exp, of_layers[: self.num_signals])]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _of_run(self, steps: NDArray[np.int64], forward: NDArray[np.float64]) -> NDArray[np.float64]:
        jitter = self._random.standard_normal((len(steps), 3))
        norm = 0.8 + 0.1 * np.abs(jitter[:, 1])
        own = {
            "loss": 1.9 + 5.5 * np.exp(-steps / 9000) + 0.03 * jitter[:, 0],
            "learning_rate": 3e-4 * np.minimum(1, (steps + 1) / 2000),
            "grad_norm": norm,
            "grad_norm_clipped": np.minimum(1, norm),
            "clip_coefficient": np.minimum(1, 1 / norm),
            "step_seconds": STEP_SECONDS + 0.02 * np.abs(jitter[:, 2]),
            "canary_embedding_rms": 1 + 0.01 * jitter[:, 0],
            "headroom_bits": 12 - np.log2(np.exp(forward).max(axis=1)),
        }
        return np.stack([own[name] for name in OF_RUN], axis=1)
