"""What a restart takes, one function a condition; each gives its numbers, and what to do where they lack."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from foreshock.server.detection.pair import QUANTITIES, Pair, Place
from foreshock.server.detection.requirement import Requirement, State
from foreshock.server.detection.stress_test import SHARE, STRESS_TAG, StressTest
from foreshock.server.detection.variance import ENOUGH, FEWEST, VarianceTest, seeds_needed

AMAX_LIMIT: Final = 1.6
# A limit that was kept is not called broken before this, so that one more run cannot flip it to and fro
AMAX_CLEAR: Final = 1.05 * AMAX_LIMIT
TITLES: Final = {
    "log_peak_gain": "Seeds agree on the peak gain",
    "final_loss": "Seeds agree on the final loss",
}


def of_absent(role: str, key: str | None, keys: Sequence[str], place: Place) -> Requirement:
    """A group that there is not."""
    shown = "no group was given or found" if key is None else f"there is no group {key!r}"
    words = f"The {role} group: {shown}; the groups are {', '.join(keys) or 'none'}."
    where = Place(place.project, "connection")
    kind = "under" if role == "constrained" else "without"
    how = where.train("mhc" if role == "constrained" else "hc", "--seed 0")
    todo = f"Name one of them ({role}=), or train {FEWEST} to {ENOUGH} seeds {kind} the constraint ({how})."
    return Requirement(f"{role}_group", f"There is a {role} group", "missing", words, todo)


def of_amax(pair: Pair) -> Requirement:
    """Amax of every constrained run back near 1: 1.6 at most, both directions, mean over tokens."""
    title = f"Amax of {pair.constrained} is back near 1"
    peaks = {run.name: _gain(run.log_peak_gain) for run in pair.ours if run.log_peak_gain is not None}
    blind = [run.name for run in pair.ours if run.log_peak_gain is None and run.has_ended]
    todo = ""
    if blind:
        todo = (
            f"{_listed(blind)} measured no composite gain after the warm-up: attach the probe where it sees "
            "the mixing matrices (print(explain(model)) tells), and run them again."
        )
    if not peaks:
        return Requirement("amax", title, "missing", "No constrained run has a composite gain yet.", todo)
    name, worst = max(peaks.items(), key=lambda item: item[1])
    words = f"Amax of the constrained group peaked at {worst:.3g} ({name}), allowed {AMAX_LIMIT:g}."
    if worst > AMAX_LIMIT:
        todo = f"Look at {name}, layer 0 first: the constraint does not hold, or the rate is too high for it."
        return Requirement("amax", title, "failed", words, todo, is_marginal=worst <= AMAX_CLEAR)
    return Requirement("amax", title, "missing" if blind else "met", words, todo)


def of_variance(pair: Pair) -> list[Requirement]:
    """The two variances, each by a test of its own, since either can fall alone."""
    return [_of_quantity(pair, name) for name in QUANTITIES]


def _of_quantity(pair: Pair, name: str) -> Requirement:
    spoken, title = name.replace("_", " "), TITLES[name]
    ours, theirs = pair.values(name)
    test = pair.tests.get(name)
    if test is None:
        words = (
            f"Variance of {spoken}: {len(ours)} constrained and {len(theirs)} baseline runs have one, at "
            f"least {FEWEST} of each are needed."
        )
        return Requirement(name, title, "missing", words, _what_lacks(pair, name, len(ours), len(theirs)))
    if test.is_significant:
        return Requirement(name, title, "met", test.words)
    return Requirement(name, title, "failed", test.words, _what_would_do(pair, test), test.is_near)


def _what_lacks(pair: Pair, name: str, num_ours: int, num_theirs: int) -> str:
    wanted = []
    for key, have, members in (
        (pair.constrained, num_ours, pair.ours),
        (pair.baseline, num_theirs, pair.theirs),
    ):
        lack = FEWEST - have
        if lack <= 0:
            continue
        num_died = sum(run.died for run in members)
        if name == "final_loss" and num_died:
            wanted.append(
                f"{num_died} of {len(members)} {key} runs died and have no final loss: train {key} where "
                f"{FEWEST} seeds live to the end, at a lower rate or shorter, and the other group alike"
            )
        elif running := sum(not run.has_ended for run in members):
            wanted.append(f"wait for the {running} of {key} that still run")
            if lack > running:
                wanted.append(pair.more_seeds(key, lack - running))
        else:
            wanted.append(pair.more_seeds(key, lack))
    return _sentence(wanted)


def _what_would_do(pair: Pair, test: VarianceTest) -> str:
    needed = seeds_needed(test.effect)
    most = max(test.num_constrained, test.num_baseline)
    if test.effect <= 1:
        return f"The seeds of {pair.constrained} do not lie closer together: look for what else differs."
    if needed is None:
        return "The ratio is so close to 1 that 30 seeds a group would not show it."
    if needed <= most:
        return "Groups of one size, or some seeds more of both, would tell."
    return (
        f"A ratio like this would be significant with about {needed} seeds a group: "
        f"{pair.more_seeds(pair.constrained, max(1, needed - test.num_constrained))}, and as many of "
        f"{pair.baseline}."
    )


def of_ends(pair: Pair) -> Requirement:
    """Every constrained run at its end, alive; and no run of either group still under way."""
    title = f"The runs of {pair.constrained} reached their end alive"
    died = [run.name for run in pair.ours if run.died]
    if died:
        words = (
            f"{len(died)} of {len(pair.ours)} constrained runs ended in a non-finite loss: {_listed(died)}."
        )
        return Requirement(
            "ends", title, "failed", words, "A constraint under which runs die has earned no restart."
        )
    parts: list[str] = []
    todo: list[str] = []
    for key, members in ((pair.constrained, pair.ours), (pair.baseline, pair.theirs)):
        if running := [run.name for run in members if not run.has_ended]:
            parts.append(f"{len(running)} of {len(members)} {key} runs still {_run(running)}")
            todo.append(f"wait for {_listed(running)}")
    if broken := [run.name for run in pair.ours if run.has_ended and not run.is_whole]:
        parts.append(f"{len(broken)} of {len(pair.ours)} {pair.constrained} runs ended early")
        todo.append(f"resume or repeat {_listed(broken)}: what it did not live to see cannot speak for it")
    if parts:
        return Requirement("ends", title, "missing", _sentence(parts), _sentence(todo))
    return Requirement(
        "ends", title, "met", f"All {len(pair.ours)} constrained runs reached their end alive."
    )


def of_layers(pair: Pair) -> Requirement:
    """Every constrained run monitored layer by layer."""
    title = "Monitoring is per layer"
    blind = [run.name for run in pair.ours if not run.has_layers]
    if blind:
        words = f"Per-layer monitoring: {_listed(blind)} measured no layer's gain."
        todo = "Attach the probe where it sees the mixing matrices: print(explain(model)) tells."
        return Requirement("layers", title, "missing", words, todo)
    return Requirement("layers", title, "met", "Every constrained run is monitored layer by layer.")


def of_stress(tests: Sequence[StressTest]) -> Requirement:
    """A stress test that was warned of in time, and none that was not."""
    tenth = f"{100 * SHARE:.0f} %"
    title = f"A stress test was warned of within {tenth} of its steps"
    how = (
        f"Train a run that is made to fail, tagged {STRESS_TAG!r} (attach(..., tags=[{STRESS_TAG!r}]), or "
        f"foreshock train --connection hc --lr 3e-2 ... --tag {STRESS_TAG}): an alert must fire in the first "
        f"{tenth} of its steps, or of those after the fault that it declares (config fault_step)."
    )
    by_outcome: dict[str, list[str]] = {"passed": [], "failed": [], "open": []}
    for test in tests:
        by_outcome[test.outcome].append(test.words)
    if failed := by_outcome["failed"]:
        todo = "See on its page which signals moved first, and why no rule spoke."
        return Requirement("stress", title, "failed", _some(failed), todo)
    running = [words for words in by_outcome["open"] if words.endswith("still runs.")]
    if by_outcome["passed"] and not running:
        return Requirement("stress", title, "met", _some((*by_outcome["passed"], *by_outcome["open"])))
    state: State = "missing"
    if running:
        return Requirement("stress", title, state, f"A stress test: {_some(running)}", "Wait for its end.")
    if by_outcome["open"]:
        return Requirement("stress", title, state, f"A stress test: {_some(by_outcome['open'])}", how)
    return Requirement("stress", title, state, "A stress test: there is none.", how)


def _gain(log: float | None) -> float:
    return math.inf if log is None or log > 700 else math.exp(log)


def _listed(names: Iterable[str], most: int = 5) -> str:
    all_names = list(names)
    more = f" and {len(all_names) - most} more" if len(all_names) > most else ""
    return "; ".join(all_names[:most]) + more


def _some(words: Sequence[str], most: int = 3) -> str:
    more = f" And {len(words) - most} more." if len(words) > most else ""
    return " ".join(words[:most]) + more


def _run(names: Sequence[str]) -> str:
    return "runs" if len(names) == 1 else "run"


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
