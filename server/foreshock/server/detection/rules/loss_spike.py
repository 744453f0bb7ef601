"""The loss jumps far above what its own past lets expect."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec
import numpy as np

from foreshock.server.detection.baseline import Baseline, baseline, levels, noises
from foreshock.server.detection.context import IndexArray, RunContext
from foreshock.server.detection.measures import Measure
from foreshock.server.detection.past import Past
from foreshock.server.detection.rule import SILENT, Condition, Grounds, Moment, Verdict
from foreshock.server.detection.sample import BoolArray, FloatArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire.messages import Claim

ADVICE = (
    "Look at the batch of this step and at the gradient norm before it. If the loss does not come back "
    "within some tens of steps, return to the last checkpoint and skip the data or lower the rate."
)

# Losses that are held against their baselines at once; an outlier among them makes the rest be looked at anew
ROWS_AT_A_TIME: Final = 256
ROUNDING: Final = 1e-9


class LossSpikeState(msgspec.Struct, frozen=True):
    """Steps whose loss was an outlier (kept out of the baseline) and the open severe step, if any."""

    outliers: tuple[int, ...] = ()
    severe_step: int = -1
    hits: int = 0
    looked: int = 0
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class LossSpike:
    """Fires on a severe step that the next steps confirm; judged from the past alone.

    warm_up_share: in this share of the run, from its start, there is no verdict.
    severe_z: standard deviations over the robust line of the last window.
    min_excess: and by at least this share of the line.
    outlier_z: losses above this stay out of the baseline, and confirm a severe step.
    confirm_samples: among so many samples from the severe one ..
    confirm_hits: .. so many must be above `outlier_z`; a lone one is a blip.
    window_share: the window is this share of the run ..
    min_window_steps: .. at least so many steps ..
    max_window_steps: .. and at most so many.
    min_samples: with fewer accepted losses in the window there is no verdict.
    recover_noise: within so many standard deviations of the line the loss has recovered ..
    recover_steps: .. if it stays so long.
    """

    name: ClassVar[str] = "loss_spike"
    claim: ClassVar[Claim] = "rule"
    warm_up_share: float = 0.02
    severe_z: float = 7.0
    min_excess: float = 0.03
    outlier_z: float = 4.0
    confirm_samples: int = 5
    confirm_hits: int = 3
    window_share: float = 0.1
    min_window_steps: int = 50
    max_window_steps: int = 200
    min_samples: int = 30
    recover_noise: float = 2.0
    recover_steps: int = 20

    @property
    def state_type(self) -> type[LossSpikeState]:
        """The state's class."""
        return LossSpikeState

    def update(self, moment: Moment, state: LossSpikeState) -> tuple[LossSpikeState, Sequence[Verdict]]:
        """Holds the step's loss against the line through the accepted losses before it."""
        loss = float(moment.now[Measure.LOSS])
        if not math.isfinite(loss) or moment.step < self.warm_up_share * (moment.context.total_steps or 0):
            return state, SILENT
        first = moment.step - self._window_steps(moment.context)
        steps, losses = moment.history.since(Measure.LOSS, first)
        steps, losses = steps[:-1], losses[:-1]
        if state.outliers:
            accepted = ~np.isin(steps, state.outliers)
            steps, losses = steps[accepted], losses[accepted]
        if len(losses) < self.min_samples:
            # Long after a jump that never came back nothing accepted is left: the new level it is
            return LossSpikeState(), self._quiet(loss)
        if state.severe_step < 0 and loss <= (1 + self.min_excess) * float(losses[-8:].min()):
            return state, self._quiet(loss)
        return self._judge(moment, state, loss, baseline(steps, losses, moment.step))

    def loud(self, stretch: Stretch, state: LossSpikeState, is_open: bool, start: int) -> BoolArray:
        """Where a loss is an outlier, all steps of an open alert, and where nothing accepted is left."""
        rows = slice(start, start + ROWS_AT_A_TIME)
        losses, steps = stretch.now[Measure.LOSS, rows], stretch.block.steps[rows]
        is_judged = np.isfinite(losses) & ~(steps < self.warm_up_share * (stretch.context.total_steps or 0))
        if is_open or state.severe_step >= 0:
            return is_judged
        past = Past.of(stretch.history, state.outliers, start, steps, self._window_steps(stretch.context))
        enough = past.counts >= self.min_samples
        may_be = is_judged & enough & (losses > (1 + self.min_excess) * past.lowest(8))
        loud = is_judged & ~enough & (state != LossSpikeState())
        for count in np.unique(past.counts[may_be]).tolist():
            chosen = np.flatnonzero(may_be & (past.counts == count))
            loud[chosen] = self._are_outliers(past, chosen, losses[chosen])
        return loud

    def _are_outliers(self, past: Past, rows: IndexArray, losses: FloatArray) -> BoolArray:
        """Which of these losses may be outliers, with some room for rounding."""
        steps, values = past.windows(rows)
        level = levels(steps, values, past.steps[rows])
        excess = losses - level
        found = excess >= self.min_excess * np.abs(level) * (1 - ROUNDING)
        noise = noises(values[found], level[found])
        found[found] = excess[found] >= self.outlier_z * noise * (1 - ROUNDING)
        return found

    def _window_steps(self, context: RunContext) -> int:
        return max(self.min_window_steps, context.share_of_run(self.window_share, self.max_window_steps))

    def _judge(
        self, moment: Moment, state: LossSpikeState, loss: float, line: Baseline
    ) -> tuple[LossSpikeState, Sequence[Verdict]]:
        z, excess = line.z(loss), line.excess(loss)
        is_outlier = z >= self.outlier_z and excess >= self.min_excess
        is_severe = z >= self.severe_z and excess >= self.min_excess
        if is_outlier:
            kept = [
                step for step in state.outliers if step >= moment.step - self._window_steps(moment.context)
            ]
            state = msgspec.structs.replace(state, outliers=(*kept, moment.step))
        if state.severe_step < 0:
            if not is_severe:
                return state, self._quiet(loss)
            state = msgspec.structs.replace(state, severe_step=moment.step, hits=0, looked=0, confirmed=False)
        state = msgspec.structs.replace(state, hits=state.hits + is_outlier, looked=state.looked + 1)
        return self._follow(moment, state, loss, line)

    def _follow(
        self, moment: Moment, state: LossSpikeState, loss: float, line: Baseline
    ) -> tuple[LossSpikeState, Sequence[Verdict]]:
        """Confirms, waits, or lets go of a severe step."""
        recovered = loss - line.level <= max(
            self.recover_noise * line.noise, self.min_excess * abs(line.level)
        )
        condition = Condition.BETWEEN
        if state.looked == 1:
            condition = Condition.HOLDS
        elif not state.confirmed and state.hits >= self.confirm_hits:
            condition = Condition.HOLDS
            state = msgspec.structs.replace(state, confirmed=True)
        elif recovered if state.confirmed else state.looked >= self.confirm_samples:
            condition = Condition.CLEAR
        verdict = self._verdict(moment, condition, loss, line, state)
        if condition is Condition.CLEAR:
            state = msgspec.structs.replace(state, severe_step=-1)
        return state, (verdict,)

    def _verdict(
        self, moment: Moment, condition: Condition, loss: float, line: Baseline, state: LossSpikeState
    ) -> Verdict:
        def say() -> str:
            if condition is Condition.CLEAR:
                kind = "has recovered" if state.confirmed else "was a blip of fewer than 3 steps"
                return f"The loss is {loss:.4g} against {line.level:.4g} expected: it {kind}."
            return (
                f"The loss is {loss:.4g}, {line.z(loss):.1f} standard deviations and "
                f"{line.excess(loss):.0%} over the {line.level:.4g} that its last steps let expect; "
                f"it began at step {state.severe_step}, {state.hits} of {state.looked} steps since are high."
            )

        return Verdict(
            condition,
            "warning",
            loss,
            say,
            ADVICE,
            subject="loss",
            grounds=Grounds("loss"),
            # Pending at the severe step itself, so that only a confirmation fires
            hold_steps=1,
            clear_steps=self.recover_steps,
        )

    def _quiet(self, loss: float) -> Sequence[Verdict]:
        clear = Verdict(
            Condition.CLEAR,
            "warning",
            loss,
            lambda: f"The loss is {loss:.4g}, as its last steps let expect.",
            ADVICE,
            subject="loss",
            grounds=Grounds("loss"),
            hold_steps=1,
            clear_steps=self.recover_steps,
        )
        return (clear,)
