"""How early each event was warned of, family by family."""

from typing import Any, Final

from foreshock.dashboards.benchmark.estimate import told
from foreshock.dashboards.benchmark.evaluation import Evaluation
from foreshock.dashboards.figures.frame import Drawing, Figure, Table, Trace, axis
from foreshock.dashboards.figures.numbers import plain
from foreshock.dashboards.figures.palette import role

ASKED_PERCENT: Final = 5.0


def lead(evaluation: Evaluation) -> Figure:
    """A mark an event at the lead of its warning, in % of the run; what was not warned of stands at 0."""
    events: list[dict[str, Any]] = evaluation.score.get("events", [])
    drawing = Drawing("How early it warned", "No scored run has an event that could be foretold.")
    families = list(dict.fromkeys(sorted(event["family"] for event in events)))
    hits = [event for event in events if event["fate"] == "hit"]
    others = [event for event in events if event["fate"] != "hit"]
    for name, kept, colour, symbol in (
        ("warned in time", hits, "series-1", "circle-open"),
        ("not warned in time", others, "series-2", "x-thin-open"),
    ):
        if kept:
            drawing.traces.append(_marks(name, kept, colour, symbol))
    at = evaluation.score["watchers"][evaluation.judged]["published"]
    if events and at is not None:
        drawing.reading = (
            f"{len(hits)} of {len(events)} events were warned of in time; the median lead is "
            f"{told(at['lead_median_percent'])} % of the run, a miss counted as 0."
        )
    drawing.table = Table(
        ("family", "events", "warned in time", "median lead, % of the run"),
        tuple(_row(family, [one for one in events if one["family"] == family]) for family in families),
    )
    drawing.shapes.append(
        {
            "type": "line",
            "x0": ASKED_PERCENT,
            "x1": ASKED_PERCENT,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": role("series-3"), "width": 1.25, "dash": "dot"},
        }
    )
    return drawing.figure(
        hovermode="closest",
        xaxis=axis("lead, % of the run", rangemode="tozero"),
        yaxis=axis(
            type="category",
            categoryorder="array",
            categoryarray=[plain(family) for family in reversed(families)],
            fixedrange=True,
        ),
    )


def _marks(name: str, events: list[dict[str, Any]], colour: str, symbol: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "cliponaxis": False,
        "x": [round(event["lead_percent"], 3) for event in events],
        "y": [plain(event["family"]) for event in events],
        "text": [
            f"{plain(event['run_id'])}<br>{event['fate']}, {event['lead_steps']:,} steps; "
            f"onset {event['onset']:,}"
            for event in events
        ],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": role(colour), "size": 10, "symbol": symbol, "line": {"width": 1.75}},
    }


def _row(family: str, events: list[dict[str, Any]]) -> tuple[str, ...]:
    leads = sorted(event["lead_percent"] for event in events)
    middle = (leads[len(leads) // 2] + leads[(len(leads) - 1) // 2]) / 2
    hits = sum(event["fate"] == "hit" for event in events)
    return family, str(len(events)), str(hits), f"{middle:.2g}"
