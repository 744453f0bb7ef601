"""What a replay found, as programs and as people read it."""

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from foreshock.server.alerts.life import Transition
from foreshock.server.nonfinite import spell
from foreshock.server.replay.traces import Trace

_STYLES: Final = {"critical": "bold red", "warning": "yellow", "info": ""}


def as_dict(one: Transition) -> dict[str, Any]:
    """A transition as `--json` prints it; numbers that are not finite are words, as over HTTP.

    `labels` are there where the rule, a user's, has any.
    """
    grounds = one.grounds
    told: dict[str, Any] = spell(
        {
            "step": one.step,
            "rule": one.rule,
            "claim": one.claim,
            "severity": one.severity,
            "state": one.state,
            "signal": grounds.signal,
            "layer": grounds.layer,
            "value": one.value,
            "risk": grounds.risk,
            "eta_steps": grounds.eta_steps,
            "reason": one.reason,
            **({"labels": one.labels} if one.labels else {}),
        }
    )
    return told


def print_timeline(trace: Trace, told: Sequence[Transition]) -> None:
    """Prints every transition with its reason, and in the end what came of it all."""
    console = Console()
    for one in told:
        style = _STYLES[one.severity] if one.state == "firing" else "dim"
        head = f"{one.step:>8}  {one.state:<8}  {one.severity:<8}  {one.rule} ({one.subject})"
        # As Text: a column's "[3]" would be taken for markup
        console.print(Text(head, style=style), Padding(Text(one.reason), (0, 0, 0, 10)), sep="\n")
    console.print(Text(summary(trace, told)))


def summary(trace: Trace, told: Sequence[Transition]) -> str:
    """How many steps were judged, which alerts fired, and which are open at the end."""
    fired = {(one.rule, one.subject, one.opened_step): one for one in told if one.state == "firing"}
    last = {(one.rule, one.subject, one.opened_step): one for one in told}
    still = [one for one in last.values() if one.state != "resolved"]
    words = f"{trace.path}: {trace.num_steps:,} steps judged; "
    if not fired:
        return words + ("no alert" if not still else f"no alert fired, {len(still)} pending at the end")
    counts = [
        f"{count} {severity}"
        for severity in ("critical", "warning", "info")
        if (count := sum(one.severity == severity for one in fired.values()))
    ]
    first = min(fired.values(), key=lambda one: one.step)
    words += f"{len(fired)} alert{'s' * (len(fired) > 1)} fired ({', '.join(counts)}), "
    return words + f"the first at step {first.step} ({first.rule}); {len(still)} open at the end"
