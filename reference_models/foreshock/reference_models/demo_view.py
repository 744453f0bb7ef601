"""How the demo shows itself: a live table, then the timeline of alerts and the comparison of seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from foreshock.reference_models.demo_plan import NUM_STEPS, TrainingProcess
from foreshock.reference_models.demo_summary import DemoSummary, RunSummary
from foreshock.reference_models.observatory import AlertLine, read_number

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def live_table(
    names: Mapping[str, str], rows: Mapping[str, dict[str, Any]], started: Mapping[str, TrainingProcess]
) -> Table:
    """One line a run, from what the collector knows now."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("run", "state", "step", "loss", "composite gain", "canary", "headroom", "alerts"):
        table.add_column(title, justify="left" if title in ("run", "state", "alerts") else "right")
    for run_id, name in names.items():
        training = started.get(run_id)
        if run_id in rows:
            table.add_row(name, *_live_cells(rows[run_id]))
        elif training is not None and training.failure:
            table.add_row(name, Text(training.failure, style="red"))
        else:
            table.add_row(name, "waiting" if training is None else "starting", style="dim")
    return table


def _live_cells(row: dict[str, Any]) -> list[RenderableType]:
    summary = row["summary"]
    gains = [read_number(summary.get(key)) for key in ("composite_forward", "composite_backward")]
    known = [gain for gain in gains if gain is not None]
    died = summary.get("died_step")
    state = row["state"] if died is None else f"died at step {died}"
    firing = row["num_alerts"].get("firing", 0)
    last = row["last_alert"]
    told = "" if last is None else f"{firing} firing, last {last['rule']}"
    return [
        Text(state, style="bold red" if died is not None else ""),
        f"{row['last_step'] + 1}/{NUM_STEPS}",
        _number(read_number(summary.get("loss")), ".3f"),
        _number(max(known, default=None), ".3g"),
        _number(read_number(summary.get("canary_gain")), ".3f"),
        _number(read_number(summary.get("headroom_bits")), ".1f"),
        Text(told, style=_STYLES.get(last["severity"], "") if last else ""),
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def summary_view(summary: DemoSummary) -> Group:
    """Everything that is shown at the end."""
    parts: list[RenderableType] = [Text("\nAlert timeline", style="bold")]
    parts += [_timeline(run) for run in summary.runs]
    parts += [Text("\nSeeds compared", style="bold"), _comparison(summary.runs), _verdict(summary.verdict)]
    return Group(*parts)


def _timeline(run: RunSummary) -> RenderableType:
    """Each rule's first alert on a line, and under it the first sentence of its reason."""
    heading = Text(f"{run.name}: {run.fate}", style="bold red" if run.died_step is not None else "bold green")
    lines: list[RenderableType] = [heading] if run.alerts else [heading, Text("  no alert", style="dim")]
    for alert in first_of_each_rule(run.alerts):
        line = Text(f"  step {alert.step:>4}  ").append(
            f"{alert.rule:<22}", style=_STYLES.get(alert.severity, "")
        )
        line.append(f"  loss then {_number(alert.loss, '.3f')}")
        if alert.steps_before_death is not None:
            line.append(f", {alert.steps_before_death} steps before the end", style="bold")
        lines += [line, Padding(Text(first_sentence(alert.reason), style="dim"), (0, 0, 0, 13))]
    return Group(*lines)


def first_sentence(reason: str) -> str:
    """The reason up to its first full stop that ends a sentence."""
    sentence, separator, _ = reason.partition(". ")
    return sentence + "." if separator else sentence


def first_of_each_rule(alerts: Sequence[AlertLine]) -> list[AlertLine]:
    """The earliest alert of every rule, in order: a rule that speaks of many layers is told once."""
    seen: dict[str, AlertLine] = {}
    for line in alerts:
        seen.setdefault(line.rule, line)
    return list(seen.values())


def _comparison(runs: Sequence[RunSummary]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for title in ("  run", "peak gain (mean)", "(max over tokens)", "final loss", "fate"):
        table.add_column(title)
    for run in runs:
        peak, worst = _number(run.peak_gain_mean, ".4g"), _number(run.peak_gain_max, ".4g")
        table.add_row(f"  {run.name}", peak, worst, _number(run.final_loss, ".4f"), run.fate)
    return table


def _verdict(verdict: Mapping[str, Any]) -> Group:
    lines = [f"  {reason}" for reason in verdict["reasons"]]
    lines += [f"  missing: {what}" for what in verdict["missing"]]
    return Group(Text(f"\nVerdict: {verdict['state']}", style="bold"), *(Text(line) for line in lines))
