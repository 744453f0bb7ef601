"""What else was going on while a gain rose: what reasons add to their own numbers."""

from typing import Final

import numpy as np

from foreshock.server.detection.measures import Measure, worst_layer
from foreshock.server.detection.rule import Moment
from foreshock.server.detection.sample import BoolArray, Sample
from foreshock.server.detection.stretch import Stretch
from foreshock.server.detection.trend import theil_sen

COMPOSITES: Final = ("composite_amax_forward_mean", "composite_amax_backward_mean")
NO_LAYERS: Final = (-1, -1)
_RANGES: Final = {"float16": "fp16's range", "bfloat16": "bf16's range", "float32": "fp32's range"}
_FEWEST: Final = 7
_MOST: Final = 50
_SHORTEST_STEPS: Final = 12


def overflow_steps(moment: Moment, since_step: int) -> float | None:
    """Steps until the residual stream leaves its dtype's range, at the pace of the newest half since a step.

    None where headroom is not measured, or does not shrink. A rise that has just begun fills the half.
    """
    recent = max(_SHORTEST_STEPS, (moment.step - since_step) // 2)
    steps, bits = moment.history.since(Measure.HEADROOM_BITS, moment.step - recent)
    if len(steps) < _FEWEST:
        return None
    thinned = slice(None, None, -(-len(steps) // _MOST))
    slope = theil_sen(steps[::-1][thinned][::-1], bits[::-1][thinned][::-1])
    return max(float(bits[-1]), 0.0) / -slope if slope < 0 else None


def stream_range(moment: Moment) -> str:
    """The range that the residual stream must stay in, by its dtype where that is declared."""
    return _RANGES.get(str(moment.context.config.get("stream_dtype")), "its dtype's range")


def overflow_words(moment: Moment, since_step: int) -> str:
    """The same as a sentence with a space before it; nothing where headroom is not measured."""
    bits = moment.history.since(Measure.HEADROOM_BITS, since_step)[1]
    if len(bits) < _FEWEST:
        return ""
    end = stream_range(moment)
    left = overflow_steps(moment, since_step)
    if left is None:
        return f" The residual stream is {bits[-1]:.1f} doublings from the end of {end}, and comes no nearer."
    return f" At this pace the residual stream would pass {end} in about {left:.0f} steps."


def unreversed(moment: Moment, since_step: int) -> str:
    """What worked against a rise since a step and did not reverse it, and what did not work at all."""
    acting, idle = [], []
    kept = moment.history.since(Measure.CLIP_COEFFICIENT, since_step)[1]
    clipped = kept[kept < 1]
    if len(clipped):
        share = 100 * len(clipped) / len(kept)
        acting.append(f"clipping ({share:.0f} % of the steps, down to {clipped.min():.2g} of the gradient)")
    else:
        idle.append("Clipping never took hold." if len(kept) else "Clipping is not measured.")
    config = moment.context.config
    decay = config.get("optimizer_weight_decay", config.get("weight_decay"))
    if not isinstance(decay, int | float):
        idle.append("Weight decay is not declared.")
    elif decay > 0:
        acting.append(f"weight decay ({decay:g})")
    else:
        idle.append("There is no weight decay.")
    words = " and ".join(acting)
    return " ".join([f"{words[0].upper()}{words[1:]} did not reverse it.", *idle] if acting else idle)


def schedule_words(moment: Moment, then: str = "the patience was counted from there") -> str:
    """Whether a logged schedule change may explain what is seen, and what was made of it."""
    if moment.schedule is None:
        return "No logged schedule change explains it."
    return f"A schedule change was logged at step {moment.schedule.step} ({moment.schedule.what}): {then}."


def tells_composites(stretch: Stretch) -> BoolArray:
    """At which steps [S] of a stretch composite gains were measured."""
    forward, backward = (
        stretch.now[Measure.LOG_COMPOSITE_FORWARD],
        stretch.now[Measure.LOG_COMPOSITE_BACKWARD],
    )
    found: BoolArray = np.isfinite(forward) | np.isfinite(backward)
    return found


def worst_composites(sample: Sample, before: tuple[int, int]) -> tuple[int, int]:
    """The layer of the worst composite amax, forward and backward, as last measured; -1 before that."""
    layers = [sample.layers(series) for series in COMPOSITES]
    forward, backward = (
        worst_layer(values) if len(values) else old for values, old in zip(layers, before, strict=True)
    )
    return forward, backward
