"""The restart verdict: may training go on under the constraint, as the documents demand it.

All of: Amax of the constrained group is back near 1; across seeds the variance of log peak composite
gain and, apart from it, of the final loss is significantly lower than in the unconstrained group;
monitoring is per layer; and a stress test has warned within the first 10 % of its steps.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy import stats

from foreshock.server.detection.variance import FEWEST, VarianceTest, compare_variance

AMAX_LIMIT: Final = 1.6
STRESS_SHARE: Final = 0.1
STRESS_TAG: Final = "stress"

State = Literal["restart", "wait", "undecided"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the verdict needs of one run.

    `log_peak_gain`: logarithm of the worst composite amax over layers, both directions, mean over
    tokens, its peak after the warm-up. `final_loss`: mean over the last 5 % of the steps. A run that
    `died` ended in a non-finite loss: it has no final loss, and is counted apart.
    """

    run_id: str
    name: str
    key: str
    seed: int | None
    state: str
    total_steps: int | None
    log_peak_gain: float | None
    final_loss: float | None
    died: bool
    has_layers: bool
    is_stress: bool
    first_critical_step: int | None
    last_step: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the run will change no more."""
        return self.state in ("finished", "crashed", "lost")

    @property
    def is_short(self) -> bool:
        """Whether the run has ended with less than nine tenths of its steps."""
        if not self.has_ended or self.total_steps is None or self.last_step is None:
            return False
        return self.last_step + 1 < 0.9 * self.total_steps

    @property
    def kept_loss(self) -> float | None:
        """The final loss of a run that reached its end alive."""
        if self.died or self.state != "finished" or self.final_loss is None:
            return None
        return self.final_loss if math.isfinite(self.final_loss) and self.final_loss > 0 else None


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group as the verdict shows it."""

    key: str
    num_runs: int
    num_running: int
    num_died: int
    peak_gain: float | None
    runs: tuple[RunFacts, ...]


@dataclass(frozen=True, slots=True)
class RestartVerdict:
    """`restart` where every condition is met, `wait` where one is failed, else `undecided`."""

    state: State
    constrained: str | None
    baseline: str | None
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    tests: dict[str, VarianceTest]
    groups: tuple[GroupFacts, ...]

    @property
    def is_under_way(self) -> bool:
        """Whether some evidence for a restart is in and none speaks against it."""
        return self.state == "undecided" and any(test.is_significant for test in self.tests.values())


@dataclass(slots=True)
class _Findings:
    met: list[str]
    failed: list[str]
    missing: list[str]
    notes: list[str]


def judge_groups(runs: Sequence[RunFacts], constrained: str | None, baseline: str | None) -> RestartVerdict:
    """Holds the constrained group against the baseline; runs tagged `stress` count as stress tests only."""
    keys = sorted({run.key for run in runs if not run.is_stress})
    groups = {key: [run for run in runs if run.key == key and not run.is_stress] for key in keys}
    found = _Findings([], [], [], [])
    tests: dict[str, VarianceTest] = {}
    for role, key in (("constrained", constrained), ("baseline", baseline)):
        if key is None or key not in groups:
            shown = "no group was given or found" if key is None else f"there is no group {key!r}"
            found.missing.append(f"The {role} group: {shown}; the groups are {', '.join(keys) or 'none'}.")
    if not found.missing and constrained is not None and baseline is not None:
        _judge_amax(found, groups[constrained])
        tests = _judge_variance(found, groups[constrained], groups[baseline])
        _judge_layers(found, groups[constrained])
        _note_deaths(found, groups[constrained], groups[baseline])
        _note_lengths(found, {key: groups[key] for key in (constrained, baseline)})
    _judge_stress(found, [run for run in runs if run.is_stress])
    state: State = "wait" if found.failed else "undecided" if found.missing else "restart"
    return RestartVerdict(
        state,
        constrained,
        baseline,
        (*found.failed, *found.met),
        tuple(found.missing),
        tuple(found.notes),
        tests,
        tuple(_describe(key, members) for key, members in groups.items()),
    )


def _judge_amax(found: _Findings, members: Sequence[RunFacts]) -> None:
    peaks = {run.name: math.exp(run.log_peak_gain) for run in members if run.log_peak_gain is not None}
    if len(peaks) < len(members) or not peaks:
        found.missing.append(f"Composite gains: {len(members) - len(peaks)} constrained runs have none.")
    if not peaks:
        return
    name, worst = max(peaks.items(), key=lambda item: item[1])
    words = f"Amax of the constrained group peaked at {worst:.3g} ({name}), allowed {AMAX_LIMIT:g}."
    (found.met if worst <= AMAX_LIMIT else found.failed).append(words)


def _judge_variance(
    found: _Findings, constrained: Sequence[RunFacts], baseline: Sequence[RunFacts]
) -> dict[str, VarianceTest]:
    quantities = {
        "log_peak_gain": [[run.log_peak_gain for run in group] for group in (constrained, baseline)],
        "final_loss": [[_log(run.kept_loss) for run in group] for group in (constrained, baseline)],
    }
    tests = {}
    for quantity, (ours, theirs) in quantities.items():
        a = np.array([value for value in ours if value is not None], np.float64)
        b = np.array([value for value in theirs if value is not None], np.float64)
        test = compare_variance(quantity, a, b)
        if test is None:
            found.missing.append(
                f"Variance of {quantity.replace('_', ' ')}: {len(a)} constrained and {len(b)} baseline runs "
                f"have one, at least {FEWEST} of each are needed."
            )
            continue
        tests[quantity] = test
        (found.met if test.is_significant else found.failed).append(test.words)
    running = sum(not run.has_ended for run in (*constrained, *baseline))
    if running:
        found.missing.append(f"{running} runs have not ended yet.")
    return tests


def _judge_layers(found: _Findings, members: Sequence[RunFacts]) -> None:
    blind = [run.name for run in members if not run.has_layers]
    if blind:
        found.missing.append(f"Per-layer monitoring: {', '.join(blind[:5])} measured no layer's gain.")
    else:
        found.met.append("Every constrained run is monitored layer by layer.")


def _judge_stress(found: _Findings, stress: Sequence[RunFacts]) -> None:
    """A stress test is a run tagged `stress`, made to fail; it must be warned of early."""
    if not stress:
        found.missing.append(
            f"A stress test: tag a run that is made to fail with {STRESS_TAG!r}; a critical alert must fire "
            f"within the first {STRESS_SHARE:.0%} of its steps."
        )
        return
    for run in stress:
        if run.total_steps is None:
            found.missing.append(f"The stress test {run.name} does not say how many steps it has.")
            continue
        limit = STRESS_SHARE * run.total_steps
        fired = run.first_critical_step
        if fired is not None and fired <= limit:
            found.met.append(
                f"The stress test {run.name} was warned of at step {fired} of {run.total_steps}."
            )
        elif fired is None and not run.has_ended:
            found.missing.append(f"The stress test {run.name} still runs.")
        else:
            when = "never" if fired is None else f"at step {fired}"
            found.failed.append(
                f"The stress test {run.name} was warned of {when}, not within {limit:.0f} steps."
            )


def _note_deaths(found: _Findings, constrained: Sequence[RunFacts], baseline: Sequence[RunFacts]) -> None:
    """Runs that died have no final loss: leaving them out flatters their group, so they are told."""
    ours, theirs = (sum(run.died for run in group) for group in (constrained, baseline))
    if not (ours or theirs):
        return
    table = [[theirs, len(baseline) - theirs], [ours, len(constrained) - ours]]
    p_value = float(stats.fisher_exact(table, alternative="greater").pvalue)
    found.notes.append(
        f"{theirs} of {len(baseline)} baseline and {ours} of {len(constrained)} constrained runs ended in a "
        f"non-finite loss (Fisher's exact test, one-sided, p = {p_value:.2g}). They have no final loss and "
        "are left out of its variance, which makes their group look calmer than it was."
    )


def _note_lengths(found: _Findings, groups: Mapping[str, Sequence[RunFacts]]) -> None:
    """Runs that ended early had less time to peak and to learn: their numbers are those of shorter runs."""
    for key, members in groups.items():
        short = [run for run in members if run.is_short]
        if not short:
            continue
        steps = sorted((run.last_step or 0) + 1 for run in short)
        totals = sorted({run.total_steps or 0 for run in short})
        found.notes.append(
            f"{len(short)} of {len(members)} {key} runs ended early, after {_span(steps)} of {_span(totals)} "
            f"steps ({', '.join(sorted({run.state for run in short}))}): their peaks and losses are those of "
            "shorter runs."
        )


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"


def _log(value: float | None) -> float | None:
    return None if value is None else math.log(value)


def _describe(key: str, members: Sequence[RunFacts]) -> GroupFacts:
    peaks = [run.log_peak_gain for run in members if run.log_peak_gain is not None]
    return GroupFacts(
        key,
        len(members),
        sum(not run.has_ended for run in members),
        sum(run.died for run in members),
        math.exp(min(max(peaks), 700.0)) if peaks else None,
        tuple(members),
    )
