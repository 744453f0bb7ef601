"""Whether its risk is true: what followed against what was told."""

from typing import Any

from foreshock.dashboards.benchmark.estimate import told
from foreshock.dashboards.benchmark.evaluation import Evaluation
from foreshock.dashboards.figures.frame import Drawing, Figure, Table, Trace, axis
from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.figures.palette import GROUPS, role


def reliability(evaluation: Evaluation) -> Figure:
    """Of the steps at which a risk was told, the share that an event followed; the diagonal is true."""
    drawing = Drawing("Whether its risk is true", f"{evaluation.judged} gives no probability.")
    horizons: dict[str, Any] = evaluation.score["watchers"][evaluation.judged]["calibration"] or {}
    if horizons:
        drawing.traces.append(_diagonal())
        drawing.reading = "; ".join(
            f"{_words(name)}: skill {told(each['brier_skill'])}" for name, each in horizons.items()
        )
    for (name, each), colour in zip(horizons.items(), GROUPS, strict=False):
        drawing.traces.append(_line(name, each, colour))
    drawing.table = Table(
        ("horizon", "risk told", "followed", "steps"),
        tuple(
            (_words(name), words(risk), words(followed), f"{rows:,}")
            for name, each in horizons.items()
            for risk, followed, rows in _bins(each)
        ),
    )
    return drawing.figure(
        hovermode="closest",
        xaxis=axis("risk that was told", range=[-0.02, 1.02]),
        yaxis=axis("share that was followed", range=[-0.02, 1.03], fixedrange=True),
    )


def _words(horizon: str) -> str:
    return f"within {horizon} of the run" if horizon.endswith("%") else f"within {horizon} steps"


def _bins(each: dict[str, Any]) -> list[tuple[float, float, int]]:
    bins = zip(each["mean_risk"], each["followed"], each["num_rows"], strict=True)
    return [(risk, share, rows) for risk, share, rows in bins if risk is not None and share is not None]


def _line(name: str, each: dict[str, Any], colour: str) -> Trace:
    bins = _bins(each)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": _words(name),
        "x": [risk for risk, _, _ in bins],
        "y": [share for _, share, _ in bins],
        "text": [f"{rows:,} steps" for _, _, rows in bins],
        "hovertemplate": "told %{x:.3f}, followed %{y:.3f}<br>%{text}",
        "line": {"color": role(colour), "width": 2},
        "marker": {"size": 7},
    }


def _diagonal() -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "true",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": role("ink-2"), "width": 1.25, "dash": "dash"},
        "hoverinfo": "skip",
    }
