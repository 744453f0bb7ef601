"""What should be borne in mind of a verdict: it changes no condition, but how far one may trust it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from foreshock.server.detection.pair import Pair, common_length, independent, is_of_length
from foreshock.server.detection.run_facts import RunFacts
from foreshock.server.detection.variance import LEVEL

MOST_KEYS: Final = 5


def of_pair(pair: Pair) -> list[str]:
    """Notes on deaths, lengths, repeated seeds, ties, and numbers that no test can take."""
    groups = {pair.constrained: pair.ours, pair.baseline: pair.theirs}
    length = common_length((*pair.ours, *pair.theirs))
    found = [_deaths(pair)]
    for key, members in groups.items():
        found += [
            _short(key, members),
            _other_lengths(key, members, length),
            _repeated_seeds(key, members),
            _no_seeds(key, members),
            _ties(key, members),
            _beyond_logarithms(key, members),
            _overflowed(key, members),
        ]
    found.append(_false_warnings(pair))
    return [one for one in found if one]


def of_candidates(keys: Sequence[str]) -> list[str]:
    """What several constrained groups against one baseline do to the error rate."""
    if len(keys) < 2:
        return []
    chance = 1 - (1 - LEVEL) ** len(keys)
    return [
        f"{len(keys)} constrained groups are held against one baseline ({', '.join(keys)}), each test at p < "
        f"{LEVEL:g}: that one of them passes one test by luck has a chance of up to {100 * chance:.0f} %."
    ]


def of_settings(settings: Mapping[str, Sequence[Mapping[str, Any]]], group_by: str) -> list[str]:
    """Keys of the configuration in which the two groups differ, or the runs of one, beside `group_by`."""
    groups = list(settings.items())
    if not all(members for _, members in groups):
        return []  # that a group has no run is told as what is missing
    keys = sorted({key for _, members in groups for one in members for key in one} - {group_by})
    mixed, apart = [], []
    for key in keys:
        values = [{str(one.get(key)) for one in members} for _, members in groups]
        if any(len(of_group) > 1 for of_group in values):
            mixed.append(key)
        elif len(values) == 2 and values[0] != values[1]:
            apart.append(f"{key} ({min(values[0])} and {min(values[1])})")
    found = []
    if apart:
        found.append(
            f"{groups[0][0]} and {groups[1][0]} differ in more than {group_by}: {_some(apart)}. What the "
            "verdict says of the constraint may be owed to that."
        )
    if mixed:
        found.append(
            f"Runs of one group differ in {_some(mixed)}: their spread is not one across seeds alone."
        )
    return found


def _deaths(pair: Pair) -> str:
    """Runs that died have no final loss: leaving them out flatters their group, so they are told."""
    ours, theirs = (sum(run.died for run in group) for group in (pair.ours, pair.theirs))
    if not (ours or theirs):
        return ""
    # As in `variance`: few collectors ever need it
    from scipy import stats

    table = [[theirs, len(pair.theirs) - theirs], [ours, len(pair.ours) - ours]]
    p_value = float(stats.fisher_exact(table, alternative="greater").pvalue)
    return (
        f"{theirs} of {len(pair.theirs)} baseline and {ours} of {len(pair.ours)} constrained runs ended in a "
        f"non-finite loss (Fisher's exact test, one-sided, p = {p_value:.2g}). They have no final loss and "
        "are left out of its variance, which makes their group look calmer than it was."
    )


def _short(key: str, members: Sequence[RunFacts]) -> str:
    """Runs that ended early had less time to peak and to learn: their numbers are those of shorter runs."""
    short = [run for run in members if run.is_short]
    if not short:
        return ""
    steps = sorted(run.num_steps for run in short)
    totals = sorted({run.total_steps or 0 for run in short})
    return (
        f"{len(short)} of {len(members)} {key} runs ended early, after {_span(steps)} of {_span(totals)} "
        f"steps ({', '.join(sorted({run.state for run in short}))}): their peaks are those of shorter runs, "
        "and they have no final loss to compare."
    )


def _other_lengths(key: str, members: Sequence[RunFacts], length: int | None) -> str:
    others = [run for run in members if not is_of_length(run, length)]
    if not others:
        return ""
    totals = sorted({run.total_steps or 0 for run in others})
    return (
        f"{len(others)} of {len(members)} {key} runs are of another length, {_span(totals)} steps where most "
        f"have {length}: they are left out of the tests, since peaks and losses of other lengths do not "
        "compare."
    )


def _repeated_seeds(key: str, members: Sequence[RunFacts]) -> str:
    counts = Counter(run.seed for run in members if run.seed is not None)
    again = sorted(seed for seed, count in counts.items() if count > 1)
    if not again:
        return ""
    return (
        f"{len(members) - len(independent(members))} of {len(members)} {key} runs repeat a seed "
        f"({_some([str(seed) for seed in again])}): they are not independent, so one run a seed is compared, "
        "the newest that reached its end."
    )


def _no_seeds(key: str, members: Sequence[RunFacts]) -> str:
    num_unnamed = sum(run.seed is None for run in members)
    if not num_unnamed:
        return ""
    return (
        f"{num_unnamed} of {len(members)} {key} runs name no seed: they are taken to be independent. Give "
        "attach() a seed."
    )


def _ties(key: str, members: Sequence[RunFacts]) -> str:
    """Two seeds never end at the same loss to the last digit."""
    losses = Counter(run.final_loss for run in independent(members) if run.log_final_loss is not None)
    tied = sum(count for count in losses.values() if count > 1)
    if not tied:
        return ""
    return (
        f"{tied} {key} runs of different seeds end at the same loss to the last digit: is the seed put to "
        "use, or is it one run twice?"
    )


def _beyond_logarithms(key: str, members: Sequence[RunFacts]) -> str:
    num = sum(run.is_whole and run.final_loss is not None and run.log_final_loss is None for run in members)
    if not num:
        return ""
    return (
        f"{num} of {len(members)} {key} runs have a final loss that is not above 0, or not finite: the tests "
        "are of logarithms, so these are left out."
    )


def _overflowed(key: str, members: Sequence[RunFacts]) -> str:
    num = sum(run.has_ended and run.log_peak_gain is not None and run.peak is None for run in members)
    if not num:
        return ""
    return f"The gain of {num} of {len(members)} {key} runs overflowed: no test can take it, it is left out."


def _false_warnings(pair: Pair) -> str:
    """A monitor that warns of everything passes every stress test."""
    warned = [run for run in pair.ours if run.warnings and run.is_whole]
    if not warned:
        return ""
    return (
        f"{len(warned)} of {len(pair.ours)} {pair.constrained} runs, which lived, were warned of as well "
        f"({_some(sorted({run.warnings[0].rule for run in warned}))}): a warning tells less the more often "
        "it comes."
    )


def _span(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - MOST_KEYS} more" if len(words) > MOST_KEYS else ""
    return ", ".join(words[:MOST_KEYS]) + more
