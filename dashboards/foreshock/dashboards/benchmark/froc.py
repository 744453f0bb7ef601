"""What a warning costs: recall against false alarms."""

import math
from collections.abc import Sequence
from typing import Final

from foreshock.dashboards.benchmark.estimate import curve, point, told
from foreshock.dashboards.benchmark.evaluation import Evaluation
from foreshock.dashboards.figures.frame import Drawing, Figure, Table, axis
from foreshock.dashboards.figures.palette import role

# No false alarm at all has no place on a logarithmic axis: it stands here
LEAST_RATE: Final = 0.01
MOST_RATE: Final = 30.0
BUDGET: Final = 0.05


def froc(evaluation: Evaluation) -> Figure:
    """Each watcher over all thresholds, and what it publishes; up and to the left is better."""
    drawing = Drawing("What a warning costs", "No scored run has both an event and healthy steps.")
    for name, watcher in evaluation.watchers.items():
        found = watcher["froc"]
        if found is None:
            continue
        points = best_so_far(found["false_per_1000"], found["recall"])
        xs = [max(LEAST_RATE, x) for x, _ in points]
        drawing.traces.append(curve(evaluation, name, xs, [y for _, y in points], "hv"))
        at = watcher["published"]
        if at and at["recall"]["value"] is not None and at["false_per_1000"]["value"] is not None:
            rate = max(LEAST_RATE, at["false_per_1000"]["value"])
            drawing.traces.append(point(evaluation, name, rate, at["recall"]["value"]))
    own = evaluation.score["watchers"][evaluation.judged]["budgets"].get(f"{BUDGET:g}")
    if own is not None and drawing.traces:
        drawing.reading = (
            f"At a budget of {BUDGET:g} false alarms per 1,000 healthy steps {evaluation.judged} finds "
            f"{told(own['recall'])} of the events."
        )
    drawing.table = Table(
        ("watcher", "recall", "false per 1,000", f"recall at {BUDGET:g}"), tuple(_rows(evaluation))
    )
    drawing.shapes.append(
        {
            "type": "line",
            "x0": BUDGET,
            "x1": BUDGET,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": role("series-3"), "width": 1.25, "dash": "dot"},
        }
    )
    places = [0.01, 0.05, 0.2, 1.0, 5.0, 20.0]
    return drawing.figure(
        hovermode="closest",
        xaxis=axis(
            "false alarms per 1,000 healthy steps",
            type="log",
            range=[math.log10(LEAST_RATE) - 0.05, math.log10(MOST_RATE)],
            tickmode="array",
            tickvals=places,
            ticktext=["none", *(f"{place:g}" for place in places[1:])],
        ),
        yaxis=axis("recall", range=[-0.02, 1.03], fixedrange=True),
    )


def _rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for name, watcher in reversed(evaluation.watchers.items()):
        at, own = watcher["published"] or {}, watcher["budgets"].get(f"{BUDGET:g}", {})
        rows.append((name, told(at.get("recall")), told(at.get("false_per_1000")), told(own.get("recall"))))
    return rows


def best_so_far(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """The points that no other beats in both: recall within each budget."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(zip(xs, ys, strict=True), key=lambda one: (one[0], -one[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best
