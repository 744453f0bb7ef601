"""What a stress test has found: kept as stress.json, read again by `foreshock plan`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import StressError
from foreshock.reference_models.stress.conditions import Conditions, conditions
from foreshock.reference_models.stress.knobs import UNCONSTRAINED, Factors
from foreshock.reference_models.stress.outcome import Outcome

FILE: Final = "stress.json"
VERSION: Final = 1
FAILING: Final = ("untimely", "unwarned", "crashed", "never attached")


@dataclass(frozen=True, slots=True)
class Report:
    """A whole stress test. `stack` is what Stack.describe told."""

    stack: dict[str, Any]
    factors: Factors
    minutes: float
    seconds: float
    directory: str
    outcomes: tuple[Outcome, ...]
    conditions: Conditions

    @property
    def failures(self) -> tuple[str, ...]:
        """Why the test has failed; none where it has passed."""
        reasons = [
            f"{one.variant}, seed {one.seed}: {one.verdict}{': ' if one.why else ''}{one.why}"
            for one in self.outcomes
            if one.verdict in FAILING and not (one.variant == UNCONSTRAINED and one.was_tested)
        ]
        reasons += [f"the exit condition holds: {reason}" for reason in self.conditions.exit_reasons]
        tested = {one.variant for one in self.outcomes if one.was_tested}
        left = dict.fromkeys(one.variant for one in self.outcomes if one.variant not in tested)
        untested = [
            f"{variant}: not tested, since no run of it came to its end in the time"
            for variant in left
            if all(one.verdict in ("not run", "stopped") for one in self.outcomes if one.variant == variant)
        ]
        return (*reasons, *untested)

    @property
    def has_passed(self) -> bool:
        """Whether every variant was tested, every event warned of in time, and no exit condition holds."""
        return not self.failures

    def as_dict(self) -> dict[str, Any]:
        """As plain values, the verdict first."""
        return {
            "version": VERSION,
            "passed": self.has_passed,
            "failures": list(self.failures),
            "stack": self.stack,
            "factors": dataclasses.asdict(self.factors),
            "minutes": self.minutes,
            "seconds": self.seconds,
            "directory": self.directory,
            "conditions": dataclasses.asdict(self.conditions),
            "runs": [outcome.as_dict() for outcome in self.outcomes],
        }

    def keep(self, folder: Path) -> Path:
        """Writes stress.json, whole or not at all; its path."""
        path = folder / FILE
        part = path.with_suffix(".part")
        part.write_text(plain_json.dump(self.as_dict()) + "\n")
        part.replace(path)
        return path


def make_report(
    stack: dict[str, Any],
    factors: Factors,
    outcomes: Sequence[Outcome],
    verdict: Mapping[str, Any] | None = None,
    *,
    minutes: float,
    seconds: float,
    directory: Path,
) -> Report:
    """The report on these runs; `verdict` is the collector's, of the base against its twin."""
    found = conditions(outcomes, verdict)
    return Report(stack, factors, minutes, round(seconds, 1), str(directory), tuple(outcomes), found)


def read_results(path: Path) -> dict[str, Any]:
    """A stress.json as plain values; raises StressError for a file that is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StressError(f"{path}: the results cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StressError(f"{path}: these are no results of `foreshock stress`: {error}") from error
    if not isinstance(found, dict) or not {"version", "stack", "runs", "conditions"} <= set(found):
        raise StressError(f"{path}: these are no results of `foreshock stress`; give its {FILE}")
    if found["version"] != VERSION:
        raise StressError(
            f"{path}: results of version {found['version']}; this foreshock reads {VERSION}: run the stress "
            "test again"
        )
    return found
