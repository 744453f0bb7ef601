"""What all figures share: axes, fonts, legend, and the words that stand beside the drawing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from foreshock.dashboards.figures.palette import role
from foreshock.wire.readings import Window

Figure = dict[str, Any]
Trace = dict[str, Any]
Shape = dict[str, Any]

FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
MAX_POINTS: Final = 500
MAX_COLUMNS: Final = 1000


@dataclass(frozen=True, slots=True)
class Table:
    """The figure's numbers as a table, for those who read rather than look."""

    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(slots=True)
class Drawing:
    """A figure while it is drawn: traces, shapes and annotations gather here."""

    title: str
    reading: str = ""
    traces: list[Trace] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    table: Table = Table()

    def figure(self, **layout: Any) -> Figure:
        """The finished plotly figure; `layout` adds to and overrides the common layout."""
        span = _span(self.traces)
        if span and layout["xaxis"].get("title", {}).get("text") == "step":
            layout["xaxis"] = {"range": span} | layout["xaxis"]
        return {
            "data": self.traces,
            "layout": _common()
            | {"shapes": self.shapes, "annotations": self.annotations}
            | layout
            | self._meta(),
        }

    def _meta(self) -> dict[str, Any]:
        table = {"columns": list(self.table.columns), "rows": [list(row) for row in self.table.rows]}
        empty = not any(_has_points(trace) for trace in self.traces)
        return {"meta": {"title": self.title, "reading": self.reading, "empty": empty, "table": table}}


def _span(traces: list[Trace]) -> list[float]:
    """From the first to the last step drawn, so that all figures of a run stand step above step."""
    ends = [(min(places), max(places)) for trace in traces if (places := _places(trace))]
    if not ends:
        return []
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return [low, high] if low < high else [low - 0.5, high + 0.5]


def _places(trace: Trace) -> list[float]:
    return [place for place in trace.get("x") or () if place is not None]


def _has_points(trace: Trace) -> bool:
    return bool(trace.get("z") or trace.get("x") or trace.get("y"))


def bounded(window: Window, most: int = MAX_POINTS) -> Window:
    """The window with no more buckets than a figure can draw smoothly."""
    return replace(window, buckets=max(1, min(window.buckets, most)))


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """One axis in the house's style."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 11.5, "color": role("ink-2")}},
        "gridcolor": role("grid"),
        "linecolor": role("axis"),
        "tickcolor": role("axis"),
        "tickfont": {"color": role("ink-2"), "size": 11},
        "zeroline": False,
        "automargin": True,
        "exponentformat": "power",
        **more,
    }


def step_axis(**more: Any) -> dict[str, Any]:
    """The axis of steps, which all figures over time share and zoom together."""
    shown = {
        "showgrid": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        "hoverformat": ",",
        "unifiedhovertitle": {"text": "step %{x:,}"},
    }
    return axis("step", **(shown | more))


def value_axis(title: str, *, log: bool = False, **more: Any) -> dict[str, Any]:
    """The axis of values; a drag zooms steps only, and values follow."""
    kind = {"type": "log", "dtick": None, "nticks": 6} if log else {"nticks": 6}
    return axis(title, **(kind | {"fixedrange": True, "hoverformat": ".4g"} | more))


def mark_axis(anchor: str = "x") -> dict[str, Any]:
    """The hidden axis from 0 to 1 on which alerts and non-finite values are marked, whatever the scale."""
    return {"overlaying": "y", "anchor": anchor, "range": [0, 1], "visible": False, "fixedrange": True}


def _common() -> dict[str, Any]:
    return {
        "font": {"family": FONT, "size": 12, "color": role("ink-2")},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 52, "r": 14, "t": 30, "b": 42},
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": role("surface"),
            "bordercolor": role("axis"),
            "font": {"color": role("ink"), "size": 12},
            "align": "left",
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"size": 11.5, "color": role("ink-2")},
            "itemwidth": 30,
        },
        "dragmode": "zoom",
        "uirevision": "foreshock",
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": role("axis"),
            "activecolor": role("ink"),
        },
    }


def thin(rows: Sequence[tuple[str, ...]], most: int = 12) -> tuple[tuple[str, ...], ...]:
    """At most `most` of the rows, evenly spread, the last always among them."""
    if len(rows) <= most:
        return tuple(rows)
    picked = {round(index * (len(rows) - 1) / (most - 1)) for index in range(most)}
    return tuple(rows[index] for index in sorted(picked))
