"""One evaluation of the detectors, as `foreshock scenarios score --json` told it."""

import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
# Beside what scored runs are held against, a clock that looks at nothing else
SCHEDULE_ONLY: Final = "schedule_only"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one scoring of one set of recorded runs gave.

    `score` is the JSON of `foreshock scenarios score`, its curves thinned; `name` is that of its file,
    `title` says what was scored, `date` when (YYYY-MM-DD).
    """

    name: str
    title: str
    date: str
    score: dict[str, Any]

    @property
    def judged(self) -> str:
        """The watcher that is held against the others."""
        return str(self.score["judged"])

    @property
    def watchers(self) -> dict[str, dict[str, Any]]:
        """Each watcher's score, the judged one last, so that it is drawn on top."""
        told: dict[str, dict[str, Any]] = self.score["watchers"]
        return {name: told[name] for name in sorted(told, key=lambda name: name == self.judged)}

    def states(self) -> dict[str, str]:
        """Each target, T1 to T8, with "met", "missed" or "cannot be told"."""
        return {target["key"]: target["state"] for target in self.score["targets"]}

    def verdict(self) -> str:
        """What a reader who reads nothing else should know."""
        runs, at = self.score["runs"], self.score["watchers"][self.judged]["published"]
        count = Counter(self.states().values())
        held = (
            f"Targets met: {count['met']} of {len(self.states())}, missed: {count['missed']}; not to be told "
            f"from these runs: {count['cannot be told']}."
        )
        if at is None or not runs["positive"]:
            return f"None of the {runs['scored']} runs has an event that could be foretold. {held}"
        rate = at["false_per_1000"]["value"]
        cost = "" if rate is None else f", {rate:.2g} per 1,000 healthy steps"
        false = f"{at['num_false']} false alarm{'' if at['num_false'] == 1 else 's'}{cost}"
        return f"Warned in time of {at['fates']['hit']} of {runs['positive']} events, with {false}. {held}"

    def summary(self) -> dict[str, Any]:
        """A line of the list of all evaluations."""
        return {"name": self.name, "title": self.title, "date": self.date, "states": self.states()}


@cache
def evaluations(folder: Path = FOLDER) -> tuple[Evaluation, ...]:
    """Every evaluation that is shipped, the newest first."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return tuple(sorted(found, key=lambda one: one.date, reverse=True))


def _read(path: Path) -> Evaluation:
    told = json.loads(path.read_text(encoding="utf-8"))
    return Evaluation(path.stem, told.pop("title"), told.pop("date"), told)
