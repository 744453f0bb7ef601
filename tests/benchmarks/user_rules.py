"""What rules of a user's own cost: microseconds of processor time a step, by blocks and asked at every step.

Each rule judges a series by itself, once as it is and once with its answer hidden to the question at which
steps it may hold. Both ways find the same; `times_faster` is the ratio of the two within this run.
"""

import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import yaml
from tests.server.judging.test_detection_blocks import AskedAlways

from foreshock.server.detection.block import Block, block_of
from foreshock.server.detection.case import Case
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.rule import AnyRule
from foreshock.server.detection.user_rules.book import read_rules

NUM_TRIES: Final = 3
NUM_STEPS: Final = 6_000
# Steps that come at once: a backlog or a replay, and what a second of a fast run brings
CUTS: Final = (512, 16)
WINDOW: Final = "200 steps"
CONDITIONS: Final[dict[str, dict[str, Any]]] = {
    "rises": {"rises": {"by": "20%", "within": WINDOW}},
    "falls": {"falls": {"by": "20%", "within": WINDOW}},
    "rises, window of 40 steps": {"rises": {"by": "20%", "within": "40 steps"}},
    "eta": {"eta": {"above": 1e4, "within": "300 steps", "over": WINDOW}},
}


def measure() -> dict[str, Any]:
    """Judges each kind of series by each rule, both ways, and keeps the best of a few tries."""
    return {
        f"{name}: {when}": _compared(block, {"signal": signal, "when": condition})
        for name, (block, signal) in _series().items()
        for when, condition in CONDITIONS.items()
    }


def _series() -> dict[str, tuple[Block, str]]:
    """Noise; one that rises slowly; one that rises fast at times, so that alerts open and resolve; layers."""
    rng = np.random.default_rng(0)
    steps = np.arange(NUM_STEPS)

    def noise(spread: float = 0.05) -> Any:
        return np.exp(spread * rng.standard_normal(NUM_STEPS))

    hills = np.exp(3 * np.sin(steps / 300))
    layers = {f"map[{layer}]": noise() for layer in range(32)}
    return {
        "flat": (block_of({"mine": noise()}), "mine"),
        "slow rise": (block_of({"mine": noise() * np.exp(steps / NUM_STEPS)}), "mine"),
        "hills": (block_of({"mine": noise() * hills}), "mine"),
        "32 layers": (block_of(layers), "map"),
        "ratio": (block_of({"mine": noise(), "other": noise()}), "mine / other"),
    }


def _compared(block: Block, entry: dict[str, Any]) -> dict[str, Any]:
    file = {
        "own_series": {"mine": "scalar", "other": "scalar", "map": "per_layer"},
        "rules": [{"name": "r", **entry}],
    }
    (rule,) = read_rules(yaml.safe_dump(file).encode()).own
    told: dict[str, Any] = {}
    nothing = {cut: _seconds(block, (), cut)[0] for cut in CUTS}
    for cut in CUTS:
        blocks, found = _seconds(block, [rule], cut)
        asked, same = _seconds(block, [AskedAlways(rule)], cut)
        assert found == same
        told["transitions"] = found
        by_blocks, by_steps = (max(one - nothing[cut], 1e-9) / len(block) for one in (blocks, asked))
        told[f"us_a_step_by_{cut}"] = round(1e6 * by_blocks, 2)
        told[f"us_a_step_by_{cut}_asked_always"] = round(1e6 * by_steps, 2)
        told[f"times_faster_by_{cut}"] = round(by_steps / by_blocks, 1)
    return told


def _seconds(block: Block, rules: Sequence[AnyRule], cut: int) -> tuple[float, int]:
    """Processor time of judging a block, cut into parts; how many transitions were found."""
    seconds, found = [], 0
    for _ in range(NUM_TRIES):
        case, found = Case(0, RunContext(NUM_STEPS), rules), 0
        started = time.process_time()
        for start in range(0, len(block), cut):
            part = block.part(start, start + cut)
            found += len(case.advance(part, int(part.steps[-1])))
        seconds.append(time.process_time() - started)
    return min(seconds), found
