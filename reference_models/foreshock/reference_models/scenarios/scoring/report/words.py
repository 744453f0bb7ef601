"""What the report says in words."""

from collections import Counter
from typing import Final

from foreshock.reference_models.scenarios.scoring.score import Scoreboard
from foreshock.reference_models.scenarios.scoring.targets import BUDGET, margin

CAPTIONS: Final = {
    "lead": "A mark an event, at the lead of its warning; what was not warned of in time stands at 0. "
    "Dotted: 5 % of the run.",
    "froc": "Each line is one watcher over all thresholds, each dot what it publishes. Up and to the left is "
    "better; no false alarm at all stands at 0.01. Dotted: the budget of the first target.",
    "molchan": "The share of events missed against the share of time under alarm. Dashed: "
    "alarms at random; orange knows the clock and the schedule alone.",
    "reliability": "Of the steps at which a risk was told, the share that an event followed within the "
    "horizon. On the diagonal the risk is true.",
}

DEFINITIONS: Final = (
    "Events are labelled from the loss alone, and only the first of a run is scored: what comes later "
    "happens to a model that is damaged already. Every run with an event counts, whatever its scenario "
    "was meant to show, but for exogenous ones, whose events nothing can foretell.",
    "An alarm that is on is a page at its start; alarms less than max(20 steps, 1 % of T) apart are one.",
    "A warning is in time if its page falls between 30 % of T and max(20 steps, 1 % of T) before the onset. "
    "Later pages are short (before the onset) or late; an alarm that began earlier and is still on is early, "
    "and no warning.",
    "Healthy steps: all of a run without an event, those before the lead window of a run with one, and those "
    "before the first planted fault of an exogenous run. A page that begins there is a false alarm.",
    "At a budget the threshold is the one with the highest recall among those that keep it. Chosen on the "
    "runs that are scored, it flatters, every watcher alike; intervals choose it anew in each replicate.",
    "Alarm time in Molchan's diagram: an alarm covers the lead window after it. By the clock: the same "
    "with time weighted by what the schedule-only predictor gives it.",
    "Calibration leaves out exogenous runs and all steps from the first event on.",
    "Structural risk is scored by alerts that claim `structural` or `rule` at severity warning or above; an "
    "event forecast is a critical alert that claims `event`.",
)


def verdict(board: Scoreboard) -> list[str]:
    """What a reader who reads nothing else should know."""
    judged, runs = board.judged, board.folder.runs
    num_positive = sum(run.is_positive for run in runs)
    lines = []
    at = judged.published
    if at is None:
        lines.append(f"{judged.name} says nothing of these {len(runs)} runs: {judged.unpublished}.")
    else:
        warned = f"warned in time of {at.fates['hit']} of {num_positive} events"
        if not num_positive:
            warned = f"had nothing to foretell: none of the {len(runs)} runs has an event that could be"
        rate = at.false_per_1000.value
        cost = "there are no healthy steps to tell false alarms by"
        if rate is not None:
            alarms = "alarm" if at.num_false == 1 else "alarms"
            cost = f"it raised {at.num_false} false {alarms}, {rate:.2g} per 1,000 healthy steps"
        lines.append(f"{judged.name} {warned}; {cost}.")
    states = Counter(target.state for target in board.targets)
    lines.append(
        f"Of {len(board.targets)} targets it meets {states['met']} and misses {states['missed']}; "
        f"{states['cannot be told']} cannot be told from these runs."
    )
    lines += _against_others(board)
    return lines


def _against_others(board: Scoreboard) -> list[str]:
    judged, *others = board.watchers.values()
    found = margin(judged, others)
    if found.difference.value is None or found.best is None:
        return []
    value, low, high = found.difference.value, found.difference.low, found.difference.high
    words = f"At {BUDGET} false alarms per 1,000 steps its recall is "
    if value:
        where = "above" if value > 0 else "below"
        words += f"{abs(value):.2f} {where} that of the best other, {found.best}"
    else:
        words += f"that of the best other, {found.best}"
    if low is not None and high is not None:
        words += f" (difference between {low:.2f} and {high:.2f} with 95 % confidence)"
    return [f"{words}."]
