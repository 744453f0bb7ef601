"""What a recorded run's manifest declares: `manifest.json` beside `signals.parquet`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.errors import SourceError
from foreshock.exchange.rows import whole_number
from foreshock.server.detection.case import ScheduleChange, change_words
from foreshock.server.detection.context import RunContext

SIGNALS: Final = "signals.parquet"
MANIFEST: Final = "manifest.json"
_PLACES: Final = ("step", "attempt")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a trace says of its run besides numbers; schedule changes by attempt."""

    context: RunContext
    changes: dict[int, list[ScheduleChange]]


NOTHING: Final = Declared(RunContext(), {})


def is_record(path: Path) -> bool:
    """Whether a folder holds a recorded run."""
    return path.is_dir() and (path / SIGNALS).is_file()


def read_declared(folder: Path) -> Declared:
    """The manifest of a recorded run, as far as the rules ask. Raises SourceError where it cannot be read."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        declaration = manifest["declaration"]
        context = RunContext(
            _total_steps(declaration.get("total_steps")),
            declaration.get("constraint"),
            dict(declaration.get("config") or {}),
        )
        changes: dict[int, list[ScheduleChange]] = {}
        for number, event in enumerate(manifest.get("events", [])):
            if event["kind"] == "schedule":
                step, attempt = (whole_number(event[name], f"an event's {name}") for name in _PLACES)
                change = ScheduleChange(step, 0, number, change_words(event["detail"]))
                changes.setdefault(attempt, []).append(change)
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}; give {folder / SIGNALS} itself to do without"
        raise SourceError(path, message) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        instead = f"give {folder / SIGNALS} itself to do without"
        message = f"is no manifest of a recorded run ({_shown(error)}); {instead}"
        raise SourceError(path, message) from error
    return Declared(context, changes)


def _total_steps(given: Any) -> int | None:
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    raise ValueError(f"total_steps is {given!r}")


def _shown(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    # An error of decoding shows all that it could not decode
    return "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)[:200]
