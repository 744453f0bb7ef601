"""What is laid over a drawing: alerts, healthy bands, thresholds."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from foreshock.dashboards.figures.frame import Shape, Trace
from foreshock.dashboards.figures.numbers import plain, wrapped
from foreshock.dashboards.figures.palette import role
from foreshock.wire import Band
from foreshock.wire.readings import AlertMark, Window

MAX_ALERT_LINES: Final = 40
_SYMBOLS: Final = {"critical": "triangle-down", "warning": "diamond", "info": "circle"}
_SEVERITY_ORDER: Final = ("critical", "warning", "info")


def severity_colour(severity: str) -> str:
    """The colour of a severity; an unknown one is drawn as information."""
    return role(severity if severity in _SYMBOLS else "info")


def severity_symbol(severity: str) -> str:
    """The marker of a severity, so that it does not hang on colour."""
    return _SYMBOLS.get(severity, "circle")


def rule_words(rule: str) -> str:
    """A rule's name as words, safe to draw."""
    return plain(rule.replace("_", " "), 40)


def marked_step(alert: AlertMark) -> int:
    """Where an alert stands on the axis: the step it fired, or opened while it is pending."""
    return alert.opened_step if alert.fired_step is None else alert.fired_step


def visible(alerts: Sequence[AlertMark], window: Window) -> list[AlertMark]:
    """The alerts whose mark lies in the window; the gravest win where there are too many to draw."""
    low = -np.inf if window.start is None else window.start
    high = np.inf if window.stop is None else window.stop
    inside = [alert for alert in alerts if low <= marked_step(alert) <= high]
    inside.sort(key=lambda alert: _SEVERITY_ORDER.index(alert.severity) if alert.severity in _SYMBOLS else 2)
    return sorted(inside[:MAX_ALERT_LINES], key=marked_step)


def alert_lines(alerts: Sequence[AlertMark]) -> list[Shape]:
    """A vertical line for each alert: solid while it stands, dotted once resolved or still pending."""
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": marked_step(alert),
            "x1": marked_step(alert),
            "y0": 0,
            "y1": 1,
            "layer": "above",
            "opacity": 0.85,
            "line": {
                "color": severity_colour(alert.severity),
                "width": 1.25,
                "dash": "solid" if alert.state == "firing" else "dot",
            },
        }
        for alert in alerts
    ]


def alert_markers(alerts: Sequence[AlertMark]) -> list[Trace]:
    """The alerts' heads at the top of the drawing, with their reasons on hover."""
    if not alerts:
        return []
    return [
        {
            "type": "scatter",
            "name": "alert",
            "mode": "markers",
            "yaxis": "y9",
            "x": [marked_step(alert) for alert in alerts],
            "y": [1.0] * len(alerts),
            "text": [
                # What it begins with: the numbers beneath must stay to be read, and the card has all of it
                f"<b>{plain(rule_words(alert.rule))}</b><br>{wrapped(alert.reason, max_lines=3)}"
                for alert in alerts
            ],
            "hovertemplate": "%{text}<extra></extra>",
            "cliponaxis": False,
            "showlegend": False,
            "marker": {
                "size": 9,
                "color": [severity_colour(alert.severity) for alert in alerts],
                "symbol": [severity_symbol(alert.severity) for alert in alerts],
            },
        }
    ]


def alert_labels(alerts: Sequence[AlertMark], span: tuple[int, int], most: int = 3) -> list[dict[str, Any]]:
    """Words at the first alert of each rule, the gravest first, as many as there is room for.

    Near the right end of the steps `span` a label stands to the left of its line.
    """
    firsts: dict[str, AlertMark] = {}
    for alert in sorted(alerts, key=lambda alert: alert.severity != "critical"):
        firsts.setdefault(alert.rule, alert)
    return [
        {
            "x": marked_step(alert),
            "xref": "x",
            "y": 1,
            "yref": "paper",
            "yanchor": "top",
            **_side(marked_step(alert), span),
            "yshift": -5 - 17 * row,
            "showarrow": False,
            "align": "left",
            "bgcolor": role("surface"),
            "borderpad": 1,
            "opacity": 0.92,
            "text": f"{rule_words(alert.rule)} <b>{marked_step(alert):,}</b>",
            "font": {"size": 11, "color": severity_colour(alert.severity)},
        }
        for row, alert in enumerate(sorted(list(firsts.values())[:most], key=marked_step))
    ]


def _side(step: int, span: tuple[int, int]) -> dict[str, Any]:
    if step > span[0] + 0.7 * (span[1] - span[0]):
        return {"xanchor": "right", "xshift": -5}
    return {"xanchor": "left", "xshift": 5}


def healthy_band(band: Band | None, *, yref: str = "y", xref: str = "paper") -> list[Shape]:
    """The healthy band as a wash behind the lines, as wide as the drawing."""
    if band is None:
        return []
    return [
        {
            "type": "rect",
            "xref": xref,
            "yref": yref,
            "x0": 0,
            "x1": 1,
            "y0": band.low,
            "y1": band.high,
            "layer": "below",
            "fillcolor": role("healthy"),
            "line": {"width": 0},
        }
    ]


def threshold(value: float, *, colour: str = "critical", yref: str = "y") -> Shape:
    """A dashed line across the drawing at a value that matters."""
    return {
        "type": "line",
        "xref": "paper",
        "yref": yref,
        "x0": 0,
        "x1": 1,
        "y0": value,
        "y1": value,
        "layer": "above",
        "line": {"color": role(colour), "width": 1.25, "dash": "dash"},
    }


def threshold_label(text: str, log_or_value: float, *, colour: str = "critical") -> dict[str, Any]:
    """The words at the left end of a threshold; on a log axis its height is the logarithm."""
    return {
        "x": 0.004,
        "xref": "paper",
        "xanchor": "left",
        "y": log_or_value,
        "yref": "y",
        "yanchor": "bottom",
        "showarrow": False,
        "text": plain(text),
        "font": {"size": 10.5, "color": role(colour)},
    }
