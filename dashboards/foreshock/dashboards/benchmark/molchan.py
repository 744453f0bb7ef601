"""Warnings against chance and the clock: Molchan's diagram."""

from foreshock.dashboards.benchmark.estimate import curve, point, told
from foreshock.dashboards.benchmark.evaluation import Evaluation
from foreshock.dashboards.figures.frame import Drawing, Figure, Table, Trace, axis
from foreshock.dashboards.figures.palette import role


def molchan(evaluation: Evaluation) -> Figure:
    """The share of events missed against the share of time under alarm; down and to the left is better."""
    drawing = Drawing("Against chance and the clock", "No scored run has an event that could be foretold.")
    known = {name: each for name, each in evaluation.watchers.items() if each["molchan"] is not None}
    for name, each in known.items():
        found, at = each["molchan"], each["molchan_point"]
        if not drawing.traces:
            drawing.traces.append(_chance(found["chance_alarm_time"], found["chance_miss_rate"]))
        xs, ys = [0.0, *found["alarm_time"], 1.0], [1.0, *found["miss_rate"], 0.0]
        drawing.traces.append(curve(evaluation, name, xs, ys, "linear"))
        if at is not None:
            drawing.traces.append(point(evaluation, name, at["alarm_time"], at["miss_rate"]))
    own = known.get(evaluation.judged)
    if own is not None:
        drawing.reading = (
            f"{evaluation.judged}'s skill is {told(own['molchan']['skill'])}, 0 for alarms at random, 1 for "
            f"perfect; {told(own['molchan_by_schedule']['skill'])} where knowing the clock earns nothing."
        )
    drawing.table = Table(
        ("watcher", "skill", "skill by the clock"),
        tuple(
            (name, told(each["molchan"]["skill"]), told(each["molchan_by_schedule"]["skill"]))
            for name, each in reversed(known.items())
        ),
    )
    return drawing.figure(
        hovermode="closest",
        xaxis=axis("share of time under alarm", range=[-0.02, 1.02]),
        yaxis=axis("share of events missed", range=[-0.02, 1.03], fixedrange=True),
    )


def _chance(xs: list[float], ys: list[float]) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "alarms at random",
        "x": xs,
        "y": ys,
        "line": {"color": role("ink-2"), "width": 1.25, "dash": "dash"},
        "hoverinfo": "skip",
    }
