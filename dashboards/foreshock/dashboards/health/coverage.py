"""How much of a run was seen: one of which half was lost, or that has nothing to measure, is not "safe"."""

from collections.abc import Mapping
from typing import Any, Final

# Single steps lost to a restart do not change what may be said of a run
_ENOUGH: Final = 0.99


def gaps_of(run: Mapping[str, Any], measured: bool) -> tuple[str, ...]:
    """What was not seen, as phrases; none where the whole run was, or where the judge has not come yet.

    `measured` says whether any layer has a gain now.
    """
    summary = run.get("summary") or {}
    steps = _steps(run, summary)
    if steps is None:
        return ()
    seen, total = steps
    gaps = [f"{seen:,} of {total:,} steps"] if seen < _ENOUGH * total else []
    if not measured and not summary.get("has_layers"):
        gaps.append("no mixing layers measured")
    return tuple(gaps)


def _steps(run: Mapping[str, Any], summary: Mapping[str, Any]) -> tuple[int, int] | None:
    """Seen and all. A resumed attempt begins late, so there only what is known as lost counts."""
    judged, last = summary.get("num_samples"), summary.get("step")
    if not isinstance(judged, int) or not isinstance(last, int) or last < 0:
        return None
    total = judged + _num_lost(run) if run.get("attempt") else last + 1
    return min(judged, total), total


def _num_lost(run: Mapping[str, Any]) -> int:
    cursors = run.get("cursors") or ()
    of_attempt = (one for one in cursors if one.get("attempt") == run.get("attempt"))
    return max((one.get("lost_frames") or 0 for one in of_attempt), default=0)
