"""Figures of a few panels over one axis of steps, each panel one or several signals beside their band."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from foreshock.dashboards.figures.broken import mark_broken
from foreshock.dashboards.figures.frame import Drawing, Figure, Trace, mark_axis, step_axis, value_axis
from foreshock.dashboards.figures.line import Style, area, line, lone_points, of_layers, outline
from foreshock.dashboards.figures.marks import alert_lines, healthy_band, visible
from foreshock.dashboards.figures.numbers import plain, positive
from foreshock.dashboards.figures.palette import GROUPS, role
from foreshock.dashboards.figures.scale import log_axis
from foreshock.dashboards.figures.told import reading_of, table_of
from foreshock.dashboards.figures.track import Track, read_tracks
from foreshock.wire import UNBOUNDED, Band
from foreshock.wire.readings import FloatArray, RunReader, Window

_GAP_PIXELS: Final = 22
_FRAME_PIXELS: Final = 100
_PANEL_PIXELS: Final = {1: 170, 2: 104, 3: 96}
_LOW_PANEL_PIXELS: Final = 78
_MOST_TICKS: Final = {1: 7, 2: 5}
_MEDIAN: Final = "median layer"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: the words on its axis, and its series by the names that people read them by."""

    title: str
    names: dict[str, str] = field(default_factory=dict)


def series_of(panels: Sequence[Panel]) -> tuple[str, ...]:
    """Every series of the panels."""
    return tuple(series for panel in panels for series in panel.names)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A panel with what the run has of it."""

    title: str
    tracks: list[Track]


def panelled(reader: RunReader, window: Window, title: str, empty: str, panels: Sequence[Panel]) -> Figure:
    """Reads and draws the panels that the run has something of."""
    drawn = [Drawn(panel.title, read_tracks(reader, panel.names, window)) for panel in panels]
    return draw_panels(reader, window, Drawing(title, empty), [one for one in drawn if one.tracks])


def draw_panels(
    reader: RunReader,
    window: Window,
    drawing: Drawing,
    panels: Sequence[Drawn],
    *,
    are_named: bool = False,
) -> Figure:
    """Panels one above the other; a panel of one per-layer series shows all layers around the worst.

    `are_named` writes each panel's first track over it, instead of a legend over all.
    """
    axes: dict[str, Any] = {}
    colours = iter(GROUPS * (1 + sum(len(panel.tracks) for panel in panels) // len(GROUPS)))
    for number, panel in enumerate(panels):
        name = _axis_name(number)
        for track in panel.tracks:
            drawing.traces += _lines(track, next(colours), name, alone=len(panel.tracks) == 1)
            mark_broken(drawing, track.steps, track.kinds, track.name, wash=number == 0)
        axes[name.replace("y", "yaxis")] = _axis(panel, _domain(number, len(panels)), len(panels))
        drawing.shapes += healthy_band(_common_band(panel), yref=name)
        if are_named:
            drawing.annotations.append(_name(panel, _domain(number, len(panels))[1]))
    tracks = [track for panel in panels for track in panel.tracks]
    drawing.shapes += alert_lines(visible(reader.alerts(), window))
    drawing.table = table_of(tracks)
    drawing.reading = reading_of(tracks) or drawing.reading
    last = _axis_name(max(len(panels) - 1, 0))
    high = {"height": _FRAME_PIXELS + round(_inner_pixels(len(panels)))} if len(panels) > 1 else {}
    _name_medians_once(drawing.traces)
    axes.setdefault("yaxis", value_axis(""))
    legend = {"showlegend": False} if are_named else {}
    return drawing.figure(xaxis=step_axis(anchor=last), yaxis9=mark_axis(), **axes, **high, **legend)


def _axis_name(number: int) -> str:
    """y, y2 .. y8, y10 ..: y9 is where marks stand."""
    return "y" if number == 0 else f"y{number + 1 if number < 8 else number + 2}"


def _name(panel: Drawn, top: float) -> dict[str, Any]:
    return {
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": top,
        "yref": "paper",
        "yanchor": "bottom",
        "showarrow": False,
        "text": plain(panel.tracks[0].name, 60),
        "font": {"size": 11.5, "color": role("ink")},
    }


def _inner_pixels(count: int) -> float:
    return _PANEL_PIXELS.get(count, _LOW_PANEL_PIXELS) * count + _GAP_PIXELS * (count - 1)


def _domain(number: int, count: int) -> list[float]:
    gap = _GAP_PIXELS / _inner_pixels(count)
    height = (1 - gap * (count - 1)) / count
    low = (count - 1 - number) * (height + gap)
    return [round(low, 4), round(low + height, 4)]


def _lines(track: Track, colour: str, yaxis: str, *, alone: bool) -> list[Trace]:
    shown = positive if track.log else np.asarray
    traces: list[Trace] = []
    if (alone or track.layers is None) and _has_extent(track):
        low, high = (
            shown(np.where(track.low > 0, track.low, track.values) if track.log else track.low),
            track.high,
        )
        x, y = outline(np.asarray(track.steps, np.float64), low, shown(high))
        traces += [area(x, y, colour, yaxis)] if x else []
    drawn = lone_points(
        line(track.steps, track.values, plain(track.name, 48), Style(colour), log=track.log, yaxis=yaxis)
    )
    if track.layers is not None:
        drawn |= of_layers(track.layers)
    traces.append(drawn)
    if alone and track.middle is not None:
        style = Style("series-6", "dash", 1.25)
        traces.append(line(track.steps, track.middle, _MEDIAN, style, log=track.log, yaxis=yaxis))
    return traces


def _name_medians_once(traces: Sequence[Trace]) -> None:
    """One word in the legend for all panels' medians, at its end."""
    medians = [trace for trace in traces if trace["name"] == _MEDIAN]
    for trace in medians:
        trace |= {"legendgroup": "median", "legendrank": 2000, "showlegend": trace is medians[0]}


def _has_extent(track: Track) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((track.high > track.low).any())


def _common_band(panel: Drawn) -> Band | None:
    """The healthy band that all of a panel's signals share."""
    bands = {track.band for track in panel.tracks}
    return bands.pop() if len(bands) == 1 else None


def _axis(panel: Drawn, domain: list[float], count: int) -> dict[str, Any]:
    band = _common_band(panel)
    edges = [] if band is None else [edge for edge in (band.low, band.high) if abs(edge) < UNBOUNDED]
    values = [one for track in panel.tracks for one in (track.low, track.high, track.values)]
    if all(track.log for track in panel.tracks) and _any_positive(values):
        above = [edge for edge in edges if edge > 0]
        low, high = min(above, default=np.inf) * 0.85, max(above, default=-np.inf) * 1.2
        most = _MOST_TICKS.get(count, 4)
        return log_axis(panel.title, values, low, high, most_ticks=most, domain=domain)
    return value_axis(panel.title, domain=domain, nticks=4, range=_linear_range(values, edges))


def _any_positive(values: Sequence[FloatArray]) -> bool:
    return any(bool((np.isfinite(one) & (one > 0)).any()) for one in values)


def _linear_range(values: Sequence[FloatArray], edges: Sequence[float]) -> list[float]:
    seen = np.concatenate([*(one[np.isfinite(one)] for one in values), np.asarray(edges, np.float64)])
    if not seen.size:
        return [0.0, 1.0]
    low, high = float(seen.min()), float(seen.max())
    if low >= 0 and low < 0.5 * high:
        low = 0.0
    room = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    return [low if low == 0 else low - room, high + room]
