"""The restart verdict: may training go on under the constraint, as the documents demand it.

All of: Amax of the constrained group is back near 1; across seeds the variance of log peak composite
gain and, apart from it, of the final loss is significantly lower than in the unconstrained group;
monitoring is per layer; and a stress test has been warned of within 10 % of its steps. And, which goes
without saying in the documents: every constrained run has reached its end alive.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from foreshock.server.detection import caveats, requirements
from foreshock.server.detection.pair import NOWHERE, Pair, Place, independent
from foreshock.server.detection.requirement import Requirement
from foreshock.server.detection.run_facts import RunFacts
from foreshock.server.detection.stress_test import StressTest, judge_stress_test
from foreshock.server.detection.variance import VarianceTest

State = Literal["restart", "wait", "undecided"]
Role = Literal["constrained", "baseline", "other"]

SENTENCES = {
    "restart": "Restart: every condition is met by {0} against {1}.",
    "wait": "No restart: a condition is not met by {0} against {1}.",
    "undecided": "Undecided: nothing speaks against a restart of {0}, but something is missing.",
}


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """A group as the verdict shows it; `num_seeds` counts runs that are independent of each other."""

    key: str
    role: Role
    num_runs: int
    num_seeds: int
    num_running: int
    num_died: int
    peak_gain: float | None
    runs: tuple[RunFacts, ...]


@dataclass(frozen=True, slots=True)
class RestartVerdict:
    """`restart` where every condition is met, `wait` where one is failed, else `undecided`.

    `reasons` are the words of what is failed or met, `missing` those of what is missing, each with what to
    do; `notes` are what should be borne in mind.
    """

    state: State
    sentence: str
    constrained: str | None
    baseline: str | None
    requirements: tuple[Requirement, ...]
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    tests: dict[str, VarianceTest]
    stress_tests: tuple[StressTest, ...]
    groups: tuple[GroupFacts, ...]

    @property
    def is_under_way(self) -> bool:
        """Whether some evidence for a restart is in and none speaks against it."""
        return self.state == "undecided" and any(test.is_significant for test in self.tests.values())

    @property
    def is_over(self) -> bool:
        """Whether a restart that was advised, or on its way, is so no more.

        A failure by a hair, or a run that is still to end, leaves it as it was.
        """
        if any(one.state == "failed" and not one.is_marginal for one in self.requirements):
            return True
        return self.state != "restart" and not any(test.is_near for test in self.tests.values())


def judge_groups(
    runs: Sequence[RunFacts],
    constrained: str | None,
    baseline: str | None,
    notes: Sequence[str] = (),
    place: Place = NOWHERE,
) -> RestartVerdict:
    """Holds the constrained group against the baseline; runs tagged `stress` count as stress tests only.

    `notes` are told beside its own; `place` goes into the commands that it advises.
    """
    keys = sorted({run.key for run in runs if not run.is_stress})
    groups = {key: [run for run in runs if run.key == key and not run.is_stress] for key in keys}
    stress = tuple(judge_stress_test(run) for run in runs if run.is_stress)
    found: list[Requirement] = []
    told: list[str] = []
    tests: dict[str, VarianceTest] = {}
    absent = [
        requirements.of_absent(role, key, keys, place)
        for role, key in (("constrained", constrained), ("baseline", baseline))
        if key is None or key not in groups
    ]
    if not absent and constrained is not None and baseline is not None:
        pair = Pair(constrained, baseline, groups[constrained], groups[baseline], place)
        tests = pair.tests
        found = [
            requirements.of_amax(pair),
            *requirements.of_variance(pair),
            requirements.of_ends(pair),
            requirements.of_layers(pair),
        ]
        told = caveats.of_pair(pair)
    found += [*absent, requirements.of_stress(stress)]
    states = {one.state for one in found}
    state: State = "wait" if "failed" in states else "undecided" if "missing" in states else "restart"
    return RestartVerdict(
        state,
        SENTENCES[state].format(constrained or "the constrained group", baseline or "a baseline"),
        constrained,
        baseline,
        tuple(found),
        tuple(_words(one) for wanted in ("failed", "met") for one in found if one.state == wanted),
        tuple(_words(one) for one in found if one.state == "missing"),
        (*told, *notes),
        tests,
        stress,
        tuple(_describe(key, members, constrained, baseline) for key, members in groups.items()),
    )


def _words(one: Requirement) -> str:
    return f"{one.words} {one.todo}".strip()


def _describe(
    key: str, members: Sequence[RunFacts], constrained: str | None, baseline: str | None
) -> GroupFacts:
    peaks = [run.log_peak_gain for run in members if run.log_peak_gain is not None]
    role: Role = "constrained" if key == constrained else "baseline" if key == baseline else "other"
    return GroupFacts(
        key,
        role,
        len(members),
        len(independent(members)),
        sum(not run.has_ended for run in members),
        sum(run.died for run in members),
        math.exp(min(max(peaks), 700.0)) if peaks else None,
        tuple(members),
    )
