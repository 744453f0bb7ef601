"""What is known of dangers before any run is looked at: where a feature begins to count, and for how much.

Fitted to runs alone, a family that is not among them is not known: a model that never saw an overflow has
no use for headroom. These lines say what the mechanism says, as far as it says it, and the fit is held to
them where runs do not speak against it.
"""

import math
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Prior:
    """A feature's line: its knots, in the feature's unit, and how much each piece adds to the logit."""

    knots: tuple[float, ...]
    heights: tuple[float, ...]
    why: str


def _windows_left(*windows: float) -> tuple[float, ...]:
    """Knots at so many windows left, as the features count them."""
    return tuple(-math.log(each) for each in windows)


PRIORS: Final = {
    "headroom.left": Prior(_windows_left(2, 2 / 3, 1 / 7), (1.5, 1.5), "overflow in so many windows"),
    "headroom.left_slow": Prior(_windows_left(2, 2 / 3, 1 / 7), (1.0, 1.0), "the same at the windows' pace"),
    "headroom.lack": Prior((-6.0, -3.0, -1.0), (1.0, 1.0), "so many doublings are left"),
    "composite.pace": Prior((1.0, 3.0, 6.0), (1.0, 0.7), "the composite gain grows e-fold so often a window"),
    "composite.trend": Prior((0.3, 1.0, 2.0), (0.7, 0.7), "the same over the last windows"),
    "composite.noise": Prior((0.3, 0.6, 1.2), (0.6, 0.6), "a mapping that jumps is not held"),
    "attention.level": Prior(
        tuple(math.log1p(each) for each in (1e3, 1e4, 1e5)), (1.0, 1.0), "1e3 is the documents' line"
    ),
    "attention.trend": Prior((0.2, 0.5, 1.0), (0.5, 0.5), "logits that grow by such factors a window"),
    "peak.trend": Prior((0.3, 1.0, 2.0), (0.5, 0.5), "activations that do"),
    "gradient.rise": Prior((0.7, 1.4, 2.3), (1.0, 1.0), "twice, four and ten times its lowest"),
    "loss.rise_in_noise": Prior((0.8, 1.6, 3.0), (1.0, 1.0), "the loss has left its own noise"),
    "adam.lack": Prior((0.7, 1.1, 1.6), (1.0, 1.0), "Adam remembers gradients far larger than today's"),
    "direction.lack": Prior((-0.1, -0.03, 0.0), (0.5, 0.5), "the update no longer follows the gradient"),
    "rate.surge": Prior((0.1, 0.2, 0.3, 0.6), (2.0, 1.0, 0.0), "a rate above all that the run has known"),
}
