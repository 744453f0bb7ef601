"""The documents' exit and restart conditions, as far as a stress test can hold them against its runs."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from foreshock.reference_models.stress.knobs import UNCONSTRAINED
from foreshock.reference_models.stress.outcome import Outcome

EXIT_RULES: Final = ("exit_amax", "exit_stability_tax")
# Composite amax "back near 1", both directions, mean over tokens
AMAX_LIMIT: Final = 1.6


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the seeds of one variant lie apart: variances of logarithms, None below two seeds.

    A run that died has a peak gain and no final loss.
    """

    variant: str
    num_seeds: int
    log_peak_gain: float | None
    log_final_loss: float | None


@dataclass(frozen=True, slots=True)
class Conditions:
    """`exit_holds` and `restart_holds`: None where what was measured decides neither way."""

    exit_holds: bool | None
    exit_reasons: tuple[str, ...]
    restart_holds: bool | None
    restart_reasons: tuple[str, ...]
    base_peak_gain: float | None
    spreads: tuple[Spread, ...]


def conditions(outcomes: Sequence[Outcome], verdict: Mapping[str, Any] | None = None) -> Conditions:
    """Holds the conditions against the runs.

    Exit is asked of the base alone, for what is turned up is meant to set the rules off. A restart needs
    the base's gain back near 1, every event warned of, and seeds that lie closer together than those of the
    unconstrained twin: the collector's `verdict` tests that, where there is one. The twin is no test itself.
    """
    base = [outcome for outcome in outcomes if outcome.variant == "base" and outcome.was_tested]
    exit_reasons = tuple(_exit_reasons(base))
    peaks = [outcome.peak_gain for outcome in base if outcome.peak_gain is not None]
    peak = max(peaks, default=None)
    spreads = tuple(_spread(variant, outcomes) for variant in dict.fromkeys(one.variant for one in outcomes))
    tested = [one for one in outcomes if one.variant != UNCONSTRAINED]
    failed, open_, met = _restart_reasons(peak, tested)
    for reasons, more in zip((failed, open_, met), _variance_reasons(len(base), verdict), strict=True):
        reasons += more
    return Conditions(
        exit_holds=bool(exit_reasons) if base else None,
        exit_reasons=exit_reasons,
        restart_holds=False if failed else None if open_ else True,
        restart_reasons=(*failed, *open_, *met),
        base_peak_gain=peak,
        spreads=spreads,
    )


def _exit_reasons(base: Sequence[Outcome]) -> list[str]:
    """What the base does of itself; from a planted fault on, it is meant to go wrong."""
    reasons = []
    for outcome in base:
        end = math.inf if outcome.fault_step is None else outcome.fault_step
        for rule in EXIT_RULES:
            first = next((alert for alert in outcome.alerts if alert.rule == rule), None)
            if first and first.step < end:
                reasons.append(f"{rule} fired at step {first.step} of the base, seed {outcome.seed}")
        if outcome.event is not None and outcome.onset_step is not None and outcome.onset_step < end:
            event = outcome.event.replace("_", " ")
            reasons.append(f"the base, seed {outcome.seed}, shows a {event} at step {outcome.onset_step}")
    return reasons


def _restart_reasons(
    peak: float | None, outcomes: Sequence[Outcome]
) -> tuple[list[str], list[str], list[str]]:
    """What speaks against a restart, what is not measured, what is met."""
    failed, open_, met = list[str](), list[str](), list[str]()
    if peak is None:
        open_.append("composite amax: not measured")
    else:
        words = f"composite amax of the base peaked at {peak:.3g}, allowed {AMAX_LIMIT:g}"
        (met if peak <= AMAX_LIMIT else failed).append(words)
    eventful = [outcome for outcome in outcomes if outcome.event is not None and outcome.readings]
    late = [one for one in eventful if one.readings and not one.readings.first_tenth]
    if late:
        failed.append(
            f"{len(late)} of {len(eventful)} runs with an event were not warned of in their first 10 %"
        )
    elif eventful:
        met.append(f"all {len(eventful)} runs with an event were warned of in their first 10 %")
    else:
        open_.append("stress warning: no run had an event, so none had to be warned of")
    return failed, open_, met


def _variance_reasons(
    num_base: int, verdict: Mapping[str, Any] | None
) -> tuple[list[str], list[str], list[str]]:
    """The same of the variance across seeds."""
    failed, open_, met = list[str](), list[str](), list[str]()
    if verdict is None:
        open_.append(
            f"seed variance: measured of the base over {num_base} seeds; whether it has fallen takes the "
            "unconstrained runs of --unconstrained beside them"
        )
        return failed, open_, met
    for test in verdict["tests"].values():
        weak = ", weak evidence from so few runs" if test["is_weak"] else ""
        words = (
            f"variance of {test['quantity'].replace('_', ' ')}: {_number(test['effect'])} times less than "
            f"unconstrained ({test['test']}, p = {_number(test['p_value'])}, "
            f"{test['num_constrained']} against {test['num_baseline']} runs{weak})"
        )
        (met if test["is_significant"] else failed).append(words)
    open_ += [told for told in verdict["missing"] if told.startswith("Variance of")]
    return failed, open_, met


def _number(value: float | str) -> str:
    """Three digits; the API spells numbers that are not finite."""
    return value if isinstance(value, str) else f"{value:.3g}"


def _spread(variant: str, outcomes: Sequence[Outcome]) -> Spread:
    runs = [outcome for outcome in outcomes if outcome.variant == variant and outcome.was_tested]
    gains = [math.log(run.peak_gain) for run in runs if run.peak_gain]
    losses = [math.log(run.final_loss) for run in runs if _has_final_loss(run) and run.final_loss]
    return Spread(variant, len({run.seed for run in runs}), _variance(gains), _variance(losses))


def _has_final_loss(run: Outcome) -> bool:
    return run.event != "death" and run.final_loss is not None and 0 < run.final_loss < math.inf


def _variance(values: Sequence[float]) -> float | None:
    return statistics.variance(values) if len(values) > 1 else None
