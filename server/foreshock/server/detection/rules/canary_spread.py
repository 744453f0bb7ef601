"""Investigate: layer 0 moves first and later layers follow."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.block import Block
from foreshock.server.detection.circumstances import schedule_words
from foreshock.server.detection.measures import block_gains, layer_gains, tells_gains, worst_of_layers
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Verdict
from foreshock.server.detection.sample import BoolArray, FloatArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim

ADVICE = (
    "Investigate in this order: the input's scale and the embedding, the initialisation of layer 0's "
    "mixing matrix, then normalisation. The reason gives each one's value at the start and now."
)
TRIAGE = {
    "embedding RMS": "canary_embedding_rms",
    "embedding max": "canary_embedding_max",
    "gradient norm of layer 0's mapping": "canary_grad_norm",
}


class CanaryState(msgspec.Struct, frozen=True):
    """When each layer left the band (-1: it is inside), its samples outside, and how it all began."""

    left_step: tuple[int, ...] = ()
    outside: tuple[int, ...] = ()
    first_gain: float = math.nan
    first_values: dict[str, float] = {}


@dataclass(frozen=True, slots=True)
class CanarySpread:
    """Fires once layer 0 has left its band, no layer before it, and enough have followed.

    high: a layer's gain, mean over tokens, the worse of both directions, over this has left its band.
    samples: so many samples in a row count as having left, or as having come back.
    spread_share: share of the other layers that must have followed.
    min_followers: and at least so many of them.
    lead_steps: the median follower must have left at least so many steps later.
    """

    name: ClassVar[str] = "canary_spread"
    claim: ClassVar[Claim] = "structural"
    high: float = 1.1
    samples: int = 3
    spread_share: float = 0.25
    min_followers: int = 2
    lead_steps: int = 3

    @property
    def state_type(self) -> type[CanaryState]:
        """The state's class."""
        return CanaryState

    def update(self, moment: Moment, state: CanaryState) -> tuple[CanaryState, Sequence[Verdict]]:
        """Follows each layer in and out of its band."""
        gains = layer_gains(moment.sample)
        if len(gains) < 2:
            return state, SILENT
        state = self._begin(moment, state, gains)
        # A gain that is NaN is not back inside its band
        is_out = ~(gains <= self.high)
        if not is_out.any() and not any(state.outside):
            return state, (self._verdict(Condition.CLEAR, gains, lambda: "Layer 0 is inside its band."),)
        state = self._follow(moment.step, state, is_out)
        return state, (self._judge(moment, state, gains),)

    def loud(self, stretch: Stretch, state: CanaryState, is_open: bool, start: int) -> BoolArray:
        """Where a layer leaves its band or comes back, until that is counted; all steps of an open alert."""
        block = stretch.block.part(start, len(stretch))
        gains, told = block_gains(block), tells_gains(block)
        if gains is None or is_open or len(state.left_step) != gains.shape[1] or math.isnan(state.first_gain):
            return told
        outside = np.array(state.outside)
        if not np.isin(outside, (0, self.samples)).all() or self._spread(state)[0] is Condition.HOLDS:
            return told
        changes = ~(gains <= self.high) != (outside > 0)
        loud: BoolArray = told & (np.logical_or.reduce(changes, axis=1) | self._has_news(block, state))
        return loud

    def _has_news(self, block: Block, state: CanaryState) -> BoolArray:
        """Where something is told whose first value is not known yet."""
        firsts = [block.scalar(series) for series in TRIAGE.values() if series not in state.first_values]
        if "stream_rms" not in state.first_values:
            firsts.append(worst_of_layers(block.layers("stream_rms")[:, :1]))
        news: BoolArray = np.logical_or.reduce(np.isfinite(np.reshape(firsts, (-1, len(block)))))
        return news

    def _begin(self, moment: Moment, state: CanaryState, gains: FloatArray) -> CanaryState:
        if len(state.left_step) < len(gains):
            missing = len(gains) - len(state.left_step)
            state = msgspec.structs.replace(
                state, left_step=state.left_step + (-1,) * missing, outside=state.outside + (0,) * missing
            )
        first = dict(state.first_values)
        for series in TRIAGE.values():
            value = moment.sample.scalar(series)
            if series not in first and math.isfinite(value):
                first[series] = value
        rms = moment.sample.layers("stream_rms")
        if "stream_rms" not in first and len(rms) and math.isfinite(rms[0]):
            first["stream_rms"] = float(rms[0])
        if len(first) == len(state.first_values) and not math.isnan(state.first_gain):
            return state
        gain = float(gains[0]) if math.isnan(state.first_gain) else state.first_gain
        return msgspec.structs.replace(state, first_values=first, first_gain=gain)

    def _follow(self, step: int, state: CanaryState, is_out: NDArray[np.bool_]) -> CanaryState:
        """Counts samples outside up to `samples` and back; the first outside is when it left."""
        left, outside = list(state.left_step), list(state.outside)
        for layer, out in enumerate(is_out.tolist()):
            if out:
                if outside[layer] == 0:
                    left[layer] = step
                outside[layer] = min(self.samples, outside[layer] + 1)
            elif outside[layer]:
                outside[layer] -= 1
                if outside[layer] == 0:
                    left[layer] = -1
        return msgspec.structs.replace(state, left_step=tuple(left), outside=tuple(outside))

    def _judge(self, moment: Moment, state: CanaryState, gains: FloatArray) -> Verdict:
        condition, followers = self._spread(state)
        if followers is None:
            return self._verdict(condition, gains, lambda: "Layer 0 is back inside its band.")
        return self._verdict(condition, gains, lambda: self._reason(moment, state, gains, followers))

    def _spread(self, state: CanaryState) -> tuple[Condition, list[int] | None]:
        """The condition, and the layers that have followed layer 0, None where it has not left itself."""
        gone = {
            layer: left
            for layer, (left, count) in enumerate(zip(state.left_step, state.outside, strict=True))
            if left >= 0 and count == self.samples
        }
        if 0 not in gone:
            inside = state.left_step[0] < 0
            return Condition.CLEAR if inside else Condition.BETWEEN, None
        followers = [layer for layer, left in gone.items() if left > gone[0]]
        enough = max(self.min_followers, math.ceil(self.spread_share * (len(state.left_step) - 1)))
        # Layers may leave with layer 0, but none before it, and the rest some steps later
        is_first = min(gone.values()) == gone[0]
        leads = sorted(gone[layer] - gone[0] for layer in followers)
        holds = is_first and len(followers) >= enough and leads[len(leads) // 2] >= self.lead_steps
        return Condition.HOLDS if holds else Condition.BETWEEN, followers

    def _reason(self, moment: Moment, state: CanaryState, gains: FloatArray, followers: Sequence[int]) -> str:
        deepest = max(followers, default=0)
        lead = min((state.left_step[layer] for layer in followers), default=0) - state.left_step[0]
        triage = "; ".join(self._triage(moment, state, float(gains[0])))
        grown = 100 * (float(gains[0]) / state.first_gain - 1) if state.first_gain else math.nan
        risen = f"risen {grown:.3g} % since its first" if grown >= 0 else f"{state.first_gain:.3g} at first"
        return (
            f"Layer 0, whose gain is {gains[0]:.4g}, {risen}, "
            f"left its band (gain over {self.high:g}) at step {state.left_step[0]}, {lead} steps "
            f"before the first follower; {len(followers)} of {len(gains) - 1} other layers have followed, "
            f"the deepest is layer {deepest}. {schedule_words(moment, 'it may be why')} "
            f"Start and now: {triage}."
        )

    def _triage(self, moment: Moment, state: CanaryState, gain: float) -> list[str]:
        """The note's order: input scale and embedding, initialisation of the mixing, normalisation."""
        told = []
        for words, series in TRIAGE.items():
            now = moment.sample.scalar(series)
            if series in state.first_values and not math.isnan(now):
                told.append(f"{words} {state.first_values[series]:.3g} -> {now:.3g}")
        mixing = f"layer 0's gain {state.first_gain:.3g} -> {gain:.3g}"
        told.insert(min(2, len(told)), mixing)
        rms = moment.sample.layers("stream_rms")
        if "stream_rms" in state.first_values and len(rms):
            told.append(
                f"stream RMS before normalisation {state.first_values['stream_rms']:.3g} -> {rms[0]:.3g}"
            )
        return told

    def _verdict(self, condition: Condition, gains: FloatArray, say: Callable[[], str]) -> Verdict:
        return Verdict(
            condition,
            "warning",
            float(gains[0]),
            say,
            ADVICE,
            subject="layer 0",
            clear_steps=10,
            grounds=Grounds("canary_gain", 0),
        )
