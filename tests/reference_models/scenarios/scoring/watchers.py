"""Watchers whose scores are known beforehand."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import HORIZONS, Alarm, Attempt, Watch
from foreshock.server.detection.block import Block


def a_run(
    onset: int | None = None, *, family: str = "F3", expected: str = "endogenous", **more: object
) -> ScoredRun:
    """A scored run of 1,500 steps: needed lead 20, lead window of 450."""
    facts: dict[str, object] = {
        "run_id": "run",
        "family": family,
        "expected": expected,
        "scenario": "s",
        "connection": "hc",
        "total_steps": 1500,
        "num_rows": 1500,
        "onset": onset,
    } | more
    return ScoredRun(**facts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Oracle:
    """Knows each run's onset: on, and sure, for 100 steps that end 50 before it."""

    onsets: Mapping[str, int] = field(default_factory=dict)
    name: str = "oracle"
    source: str = "a test"
    threshold: float | None = 0.5

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        steps = np.concatenate([block.steps for block in blocks])
        onset = self.onsets.get(attempt.run_id, 10**9)
        is_on = (steps >= onset - 150) & (steps < onset - 50)
        ahead = onset - steps[:, None]
        spans = np.array([20, 100, 75, 150])
        return Watch(is_on.astype(float), ((ahead > 0) & (ahead <= spans)).astype(float))


@dataclass(frozen=True)
class Constant:
    """The same at every step; above 0.5 it is always on, below it is silent."""

    value: float
    name: str = "constant"
    source: str = "a test"
    threshold: float | None = 0.5

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        return Watch(np.full(sum(map(len, blocks)), self.value))


@dataclass(frozen=True)
class Noise:
    """Draws each step anew, the same for a run every time, however much of it is shown."""

    name: str = "noise"
    source: str = "a test"
    threshold: float | None = 0.999

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        generator = np.random.default_rng(zlib.crc32(attempt.run_id.encode()))
        score = generator.random(sum(map(len, blocks)))
        return Watch(score, np.repeat(score[:, None], len(HORIZONS), axis=1))


@dataclass(frozen=True)
class Peeking:
    """Looks so many steps ahead, in its score or in its alarms."""

    ahead: int
    in_alarms: bool = False
    name: str = "peeking"
    source: str = "a test"
    threshold: float | None = None

    def watch(self, attempt: Attempt, blocks: Sequence[Block]) -> Watch:
        block = blocks[0]
        losses = block.values[:, block.columns.place["loss"]]
        score = np.concatenate([losses[self.ahead :], np.zeros(self.ahead)])
        if not self.in_alarms:
            return Watch(score)
        alarms = tuple(
            Alarm(int(step), "peek", "run", "event", "critical", "firing")
            for step, value in zip(block.steps, score, strict=True)
            if value > 4.5
        )
        return Watch(np.zeros(len(block)), alarms=alarms)
