"""How long alerts stood, as washes behind the lines: from where they fired to where they were resolved."""

from collections.abc import Sequence
from typing import Final

from foreshock.dashboards.figures.frame import Shape
from foreshock.dashboards.figures.marks import marked_step, severity_colour
from foreshock.wire.readings import AlertMark

_OPACITY: Final = {"critical": 0.1, "warning": 0.07, "info": 0.04}


def alert_bands(alerts: Sequence[AlertMark], span: tuple[int, int]) -> list[Shape]:
    """A wash for each stretch of the steps `span` in which an alert of a severity stood.

    Those of one severity are joined, so that many alerts at once are not darker than one. An alert that is
    still pending has no wash yet.
    """
    return [
        _wash(start, stop, severity, opacity)
        for severity, opacity in _OPACITY.items()
        for start, stop in _joined(_stretches(alerts, severity, span))
    ]


def _stretches(alerts: Sequence[AlertMark], severity: str, span: tuple[int, int]) -> list[tuple[int, int]]:
    stood = [
        (marked_step(alert), span[1] if alert.resolved_step is None else alert.resolved_step)
        for alert in alerts
        if alert.severity == severity and alert.state != "pending"
    ]
    clipped = [(max(start, span[0]), min(stop, span[1])) for start, stop in stood]
    return sorted((start, stop) for start, stop in clipped if start < stop)


def _joined(stretches: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, stop in stretches:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _wash(start: int, stop: int, severity: str, opacity: float) -> Shape:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": start,
        "x1": stop,
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "fillcolor": severity_colour(severity),
        "opacity": opacity,
        "line": {"width": 0},
    }
