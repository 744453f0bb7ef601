"""The four pictures, as plain plotly dictionaries."""

import html
import math
from collections.abc import Sequence
from typing import Any, Final

from foreshock.reference_models.scenarios.scoring.score import Scoreboard
from foreshock.reference_models.scenarios.scoring.watcher_score import WatcherScore

Figure = dict[str, Any]

JUDGED: Final = "#0067a8"
SCHEDULE: Final = "#d1520f"
OTHER: Final = "rgba(90, 100, 115, 0.45)"
GRID: Final = "#e6e9ee"
INK: Final = "#171b24"
HORIZON_COLOURS: Final = ("#0067a8", "#d1520f", "#00805f", "#8a4fb3")
# No false alarm at all has no place on a logarithmic axis: it stands here
LEAST_RATE: Final = 0.01


def figures(board: Scoreboard) -> dict[str, Figure | None]:
    """Each picture by its key; None where there is nothing to draw."""
    return {
        "lead": lead_figure(board),
        "froc": froc_figure(board),
        "molchan": molchan_figure(board),
        "reliability": reliability_figure(board.judged),
    }


def lead_figure(board: Scoreboard) -> Figure | None:
    """A mark an event: its lead in % of T, family by family; misses stand at 0."""
    if board.judged.published is None:
        return None
    marks: dict[str, tuple[list[float], list[str], list[str]]] = {"warned": ([], [], []), "not": ([], [], [])}
    for run, outcome in zip(board.folder.runs, board.judged.outcomes, strict=True):
        if not run.is_positive:
            continue
        xs, ys, texts = marks["warned" if outcome.fate == "hit" else "not"]
        xs.append(100 * outcome.lead / run.total_steps)
        # plotly reads text as a little HTML
        ys.append(html.escape(run.family))
        texts.append(f"{html.escape(run.run_id)}<br>{outcome.fate}, {outcome.lead} steps; onset {run.onset}")
    if not any(xs for xs, _, _ in marks.values()):
        return None
    names = {"warned": "warned in time", "not": "not warned in time"}
    colours = {"warned": JUDGED, "not": SCHEDULE}
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": names[key],
            "x": xs,
            "y": ys,
            "text": texts,
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "color": colours[key],
                "size": 10,
                "opacity": 0.6,
                "symbol": "circle" if key == "warned" else "x-thin-open",
                "line": {"width": 1.5, "color": colours[key]},
            },
        }
        for key, (xs, ys, texts) in marks.items()
        if xs
    ]
    figure = _figure(traces, "lead, % of the run", None)
    figure["layout"]["yaxis"].update({"autorange": "reversed", "type": "category"})
    figure["layout"]["shapes"] = [_vertical(5.0)]
    return figure


def froc_figure(board: Scoreboard) -> Figure | None:
    """Recall against false alarms per 1,000 healthy steps: curves over thresholds, published points."""
    traces = []
    for each in _drawn(board):
        if each.froc is None:
            continue
        points = _best_so_far(each.froc.false_per_1000, each.froc.recall)
        xs = [max(LEAST_RATE, x) for x, _ in points]
        traces.append(_line(board, each, xs, [y for _, y in points], "hv"))
        at = each.published
        if at is not None and at.recall.value is not None and at.false_per_1000.value is not None:
            traces.append(_point(board, each, max(LEAST_RATE, at.false_per_1000.value), at.recall.value))
    if not traces:
        return None
    figure = _figure(traces, "false alarms per 1,000 healthy steps", "recall")
    figure["layout"]["xaxis"].update({"type": "log", "range": [math.log10(LEAST_RATE), 1.5]})
    figure["layout"]["yaxis"]["range"] = [-0.02, 1.02]
    figure["layout"]["shapes"] = [_vertical(0.05)]
    return figure


def molchan_figure(board: Scoreboard) -> Figure | None:
    """Miss rate against alarm time; the dashed line is chance."""
    traces = []
    by_chance: dict[str, Any] = {}
    for each in _drawn(board):
        if each.molchan is None:
            continue
        by_chance = _dashed(each.molchan.chance_alarm_time, each.molchan.chance_miss_rate)
        xs, ys = [0.0, *each.molchan.alarm_time, 1.0], [1.0, *each.molchan.miss_rate, 0.0]
        traces.append(_line(board, each, xs, ys, "linear"))
        at = each.molchan_point
        if at is not None:
            traces.append(_point(board, each, at.alarm_time, at.miss_rate))
    if not traces:
        return None
    figure = _figure([by_chance, *traces], "share of time under alarm", "share of events missed")
    figure["layout"]["xaxis"]["range"] = figure["layout"]["yaxis"]["range"] = [-0.02, 1.02]
    return figure


def reliability_figure(judged: WatcherScore) -> Figure | None:
    """What followed against the risk that was told, a line a horizon."""
    if judged.calibration is None:
        return None
    traces = []
    for (horizon, each), colour in zip(judged.calibration.items(), HORIZON_COLOURS, strict=False):
        bins = [
            (risk, followed, rows)
            for risk, followed, rows in zip(each.mean_risk, each.followed, each.num_rows, strict=True)
            if risk is not None and followed is not None
        ]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"within {horizon}" + ("" if horizon.endswith("%") else " steps"),
                "x": [risk for risk, _, _ in bins],
                "y": [followed for _, followed, _ in bins],
                "text": [f"{rows:,} steps" for _, _, rows in bins],
                "hovertemplate": "told %{x:.3f}, followed %{y:.3f}<br>%{text}",
                "line": {"color": colour, "width": 2},
                "marker": {"size": 7},
            }
        )
    figure = _figure([_dashed((0, 1), (0, 1)), *traces], "risk that was told", "share that was followed")
    figure["layout"]["xaxis"]["range"] = figure["layout"]["yaxis"]["range"] = [-0.02, 1.02]
    return figure


def _drawn(board: Scoreboard) -> list[WatcherScore]:
    """The judged watcher last, so that it lies on top."""
    judged, *others = board.watchers.values()
    return [*others, judged]


def _colour(board: Scoreboard, each: WatcherScore) -> str:
    if each.name == board.judged.name:
        return JUDGED
    return SCHEDULE if each.name == board.folder.schedule_only.name else OTHER


def _line(
    board: Scoreboard, each: WatcherScore, xs: Sequence[float], ys: Sequence[float], shape: str
) -> dict[str, Any]:
    colour = _colour(board, each)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": each.name,
        "legendgroup": each.name,
        "legendrank": 2 if colour == OTHER else 1,
        "x": list(xs),
        "y": list(ys),
        "line": {"color": colour, "width": 1.2 if colour == OTHER else 3, "shape": shape},
        "hovertemplate": f"{each.name}<br>%{{x:.3g}}, %{{y:.2f}}<extra></extra>",
    }


def _point(board: Scoreboard, each: WatcherScore, x: float, y: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "legendgroup": each.name,
        "showlegend": False,
        "x": [x],
        "y": [y],
        "marker": {"color": _colour(board, each), "size": 10, "line": {"color": "#fff", "width": 1.5}},
        "hovertemplate": f"{each.name}, as published<br>%{{x:.3g}}, %{{y:.2f}}<extra></extra>",
    }


def _best_so_far(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """The points that no other beats in both: recall within each budget."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(zip(xs, ys, strict=True), key=lambda point: (point[0], -point[1])):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def _dashed(xs: Sequence[float], ys: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": list(xs),
        "y": list(ys),
        "line": {"color": "#c5ccd6", "width": 1, "dash": "dash"},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _vertical(x: float) -> dict[str, Any]:
    line = {"color": "#00805f", "width": 1, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": line}


def _figure(traces: Sequence[dict[str, Any]], x_title: str, y_title: str | None) -> Figure:
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": "#c5ccd6", "ticks": "outside"}
    return {
        "data": list(traces),
        "layout": {
            "xaxis": {**axis, "title": {"text": x_title}},
            "yaxis": {**axis, "title": {"text": y_title or ""}, "automargin": True},
            "font": {"family": "system-ui, sans-serif", "size": 13, "color": INK},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": {"l": 64, "r": 16, "t": 12, "b": 52},
            "height": 420,
            "legend": {"font": {"size": 11}},
            "hovermode": "closest",
        },
    }
