"""A value is NaN or infinite: of the loss, or of a signal that the model computes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from foreshock.server.detection.context import MODEL_PREFIXES, Columns, IndexArray
from foreshock.server.detection.rule import NO_GROUNDS, SILENT, Condition, Grounds, Moment, Verdict
from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch
from foreshock.wire import parse_column
from foreshock.wire.messages import Claim, Severity

LOSS_ADVICE = (
    "Stop the run and go back to the last checkpoint before this step; the other alert names the "
    "signal and layer that failed first, and that is where to look."
)
LONE_LOSS_ADVICE = (
    "Stop the run and go back to the last checkpoint before this step. No other signal that is measured "
    "had failed: look at this step's data, at the loss itself, and at the rate of the steps before."
)
SIGNAL_ADVICE = "Look at the layer named first: what it feeds turns non-finite after it."
# What the model computes; the canary's rank and lead are derived from these
WATCHED = frozenset({"grad_norm", "canary_gain", "canary_grad_norm", "headroom_bits"})
GRADIENTS = frozenset({"grad_norm", "canary_grad_norm"})


class NonfiniteState(msgspec.Struct, frozen=True):
    """The signal that failed first, and when; empty while all are finite."""

    first: str = ""


@dataclass(frozen=True, slots=True)
class Nonfinite:
    """Fires at the first non-finite loss (critical) and at the first other non-finite signal.

    A gradient that is non-finite at a step which the optimizer skipped is the loss scaler at work.

    clear_steps: how long all must be finite again before the alert resolves.
    """

    name: ClassVar[str] = "nonfinite"
    claim: ClassVar[Claim] = "rule"
    clear_steps: int = 10

    @property
    def state_type(self) -> type[NonfiniteState]:
        """The state's class."""
        return NonfiniteState

    def update(self, moment: Moment, state: NonfiniteState) -> tuple[NonfiniteState, Sequence[Verdict]]:
        """Looks at every watched column of this step."""
        sample = moment.sample
        finite = np.isfinite(sample.values)
        bad = [] if finite[sample.present].all() else list(self._bad(moment, finite))
        if not bad and state.first:
            state = msgspec.structs.replace(state, first="")
        if bad and not state.first:
            state = msgspec.structs.replace(state, first=f"{bad[0]} at step {moment.step}")
        verdicts = []
        loss = sample.columns.scalar("loss")
        if loss is not None and sample.present[loss]:
            verdicts.append(self._loss_verdict(moment, float(sample.values[loss]), state.first))
        verdicts.append(self._signal_verdict(moment, bad, state.first))
        return state, verdicts or SILENT

    def loud(self, stretch: Stretch, state: NonfiniteState, is_open: bool, start: int) -> BoolArray:
        """Where anything that is watched is not finite, and after it until all is well."""
        if is_open or state.first:
            return stretch.every()[start:]
        block = stretch.block
        bad = block.present[start:] & ~np.isfinite(block.values[start:])
        # Column by column, as a block is made; hardly any has anything to look at step by step
        places = _watched_places(block.columns)
        places = places[np.logical_or.reduce(bad, axis=0)[places]]
        loud: BoolArray = np.logical_or.reduce(bad[:, places], axis=1)
        return loud

    def _bad(self, moment: Moment, finite: NDArray[np.bool_]) -> Iterator[str]:
        """Names of watched columns that are non-finite, in the catalogue's order."""
        sample = moment.sample
        skipped = sample.scalar("step_skipped") == 1
        for place in np.flatnonzero(sample.present & ~finite).tolist():
            series = sample.columns.series[place]
            if not _is_watched(series):
                continue
            if skipped and series in GRADIENTS:
                continue
            yield sample.columns.names[place]

    def _loss_verdict(self, moment: Moment, loss: float, first: str) -> Verdict:
        finite = math.isfinite(loss)
        origin = f" The first signal to fail was {first}." if first else ""

        def say() -> str:
            if finite:
                return f"The loss is finite again: {loss:.4g}."
            return f"The loss is {_word(loss)} at step {moment.step}.{origin}"

        condition = Condition.CLEAR if finite else Condition.HOLDS
        return Verdict(
            condition,
            "critical",
            loss,
            say,
            LOSS_ADVICE if first else LONE_LOSS_ADVICE,
            subject="loss",
            clear_steps=self.clear_steps,
            grounds=Grounds("loss"),
        )

    def _signal_verdict(self, moment: Moment, bad: Sequence[str], first: str) -> Verdict:
        def say() -> str:
            if not bad:
                return "All signals are finite again."
            others = len(bad) - 1
            more = (
                f", with {others} more {'column' if others == 1 else 'columns'} at this step"
                if others
                else ""
            )
            value = moment.sample.values[moment.sample.columns.place[bad[0]]]
            return f"{bad[0]} is {_word(float(value))} at step {moment.step}{more}. First: {first}."

        severity: Severity = "critical" if "grad_norm" in bad else "warning"
        return Verdict(
            Condition.HOLDS if bad else Condition.CLEAR,
            severity,
            float(len(bad)),
            say,
            SIGNAL_ADVICE,
            subject="signals",
            clear_steps=self.clear_steps,
            grounds=_grounds(bad[0]) if bad else NO_GROUNDS,
        )


def _grounds(name: str) -> Grounds:
    column = parse_column(name)
    return Grounds(column.series, column.layer)


@lru_cache(maxsize=256)
def _watched_places(columns: Columns) -> IndexArray:
    watched = [series == "loss" or _is_watched(series) for series in columns.series]
    return np.flatnonzero(watched)


def _is_watched(series: str) -> bool:
    return series in WATCHED or series.startswith(MODEL_PREFIXES)


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
