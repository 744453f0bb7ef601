"""Whether the first reason that a warning names is what was planted.

A family plants one kind of fault; its signals are those in which that kind shows. The signal of the first
alert that claims an event, up to the onset, is held against them. Families that are not in the table, and
alerts that name no signal, say nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watching import RunWatch

_STREAM: Final = (
    "composite_",
    "log_composite_",
    "log_gain_",
    "layer_",
    "stream_",
    "headroom_bits",
    "canary_",
)
# Beginnings of series by family of scenarios
SIGNALS: Final[dict[str, tuple[str, ...]]] = {
    "F1": _STREAM,
    "F2": _STREAM,
    "mixed": _STREAM,
    "F3": ("max_attention_logit",),
    "F4": ("log_z_",),
    "F5": ("router_",),
    "F6": ("swiglu_", "stream_max", "stream_rms", "headroom_bits"),
    "F7": ("adam_rms", "update_", "grad_norm"),
    "F8": ("learning_rate", "update_", "grad_norm"),
    "F11": ("loss", "domain_loss", "grad_norm"),
    "defence": ("router_", "swiglu_", "stream_max"),
}


@dataclass(frozen=True, slots=True)
class Attribution:
    """The share of warned runs whose warning names the planted kind first; `named` is each run's signal."""

    share: Estimate
    num_warned: int
    num_named: int
    named: dict[str, str | None]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def attribution(
    runs: Sequence[ScoredRun], watches: Sequence[RunWatch], bootstrap: Bootstrap
) -> Attribution | None:
    """The attribution over runs with an event; None of a watcher without alerts."""
    if all(watch.alarms is None for watch in watches):
        return None
    is_warned_N, is_named_N, is_right_N = (np.zeros(len(runs), np.bool_) for _ in range(3))
    named: dict[str, str | None] = {}
    for place, (run, watch) in enumerate(zip(runs, watches, strict=True)):
        if run.onset is None or run.family not in SIGNALS:
            continue
        firing = [
            alarm
            for row, alarm in watch.alarms or ()
            if alarm.claim == "event" and alarm.state == "firing" and row <= run.onset
        ]
        if not firing:
            continue
        signal = firing[0].signal
        named[run.run_id] = signal
        is_warned_N[place] = True
        is_named_N[place] = signal is not None
        is_right_N[place] = signal is not None and signal.startswith(SIGNALS[run.family])
    why = "no warning of a known family names a signal" if named else "no run of a known family was warned of"
    return Attribution(
        bootstrap.ratio(is_right_N, is_named_N, why), int(is_warned_N.sum()), int(is_named_N.sum()), named
    )
