"""Another axis than steps: wall time, or tokens, known at some steps and even between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from foreshock.dashboards.figures.frame import Figure, Trace, bounded
from foreshock.wire.readings import ClockReader, FloatArray, RunReader, Window

Axis = Literal["step", "time", "tokens"]

# Series that count the tokens seen so far, by the names that trainers give them
TOKENS: Final = ("tokens", "tokens_seen", "num_tokens", "consumed_tokens")
_MAX_KNOTS: Final = 256
_UNITS: Final = (
    ("d", 86400.0, 3 * 86400.0),
    ("h", 3600.0, 2 * 3600.0),
    ("min", 60.0, 180.0),
    ("s", 1.0, 0.0),
)
_WORDS: Final[Mapping[Axis, str]] = {"step": "steps", "time": "times", "tokens": "tokens"}


@dataclass(frozen=True, slots=True)
class Knots:
    """Where some steps [k] lie on another axis: `places` [k], never falling; `began` in seconds, of time."""

    steps: FloatArray
    places: FloatArray
    title: str
    began: float | None = None

    def place(self, step: float | None) -> float | None:
        """Where a step lies; what is outside the knots lies at their ends."""
        return None if step is None else float(f"{np.interp(step, self.steps, self.places):.9g}")

    def all_places(self, steps: Sequence[float | None]) -> list[float | None]:
        """Where steps lie, gaps kept."""
        known = np.asarray([np.nan if step is None else step for step in steps], np.float64)
        places = np.interp(known, self.steps, self.places)
        return [None if np.isnan(place) else float(f"{place:.9g}") for place in places.tolist()]


def axes_of(reader: RunReader) -> list[Axis]:
    """The axes that a run's figures can be drawn over."""
    axes: list[Axis] = ["step"]
    if isinstance(reader, ClockReader):
        axes.append("time")
    return [*axes, "tokens"] if set(TOKENS) & set(reader.columns()) else axes


def relaid(figure: Figure, reader: RunReader, window: Window, axis: Axis) -> Figure:
    """The figure over the other axis; over steps, and it says so, where the run does not tell of it."""
    knots = knots_of(reader, window, axis)
    layout = figure["layout"]
    meta = layout["meta"]
    if knots is None:
        told = f"{meta['reading']} Over steps: this run tells no {_WORDS[axis]}."
        return figure | {"layout": layout | {"meta": meta | {"reading": told}}}
    xaxis = layout["xaxis"] | {
        "title": layout["xaxis"]["title"] | {"text": knots.title},
        "hoverformat": ".5~g",
        "unifiedhovertitle": {"text": f"{knots.title} %{{x:.5~g}}"},
    }
    if axis == "tokens":
        xaxis |= {
            "exponentformat": "B",
            "hoverformat": ".4s",
            "unifiedhovertitle": {"text": f"{knots.title} %{{x:.4s}}"},
        }
    if "range" in xaxis:
        xaxis["range"] = [knots.place(end) for end in xaxis["range"]]
    told_axis = {
        "kind": axis,
        "steps": knots.steps.tolist(),
        "places": knots.places.tolist(),
        "began": knots.began,
    }
    changed = {
        "xaxis": xaxis,
        "shapes": [_moved(shape, knots, ("x0", "x1")) for shape in layout["shapes"]],
        "annotations": [_moved(note, knots, ("x",)) for note in layout["annotations"]],
        "meta": meta | {"axis": told_axis},
    }
    return {"data": [_trace(trace, knots) for trace in figure["data"]], "layout": layout | changed}


def _trace(trace: Trace, knots: Knots) -> Trace:
    return trace | {"x": knots.all_places(trace["x"])} if "x" in trace else trace


def _moved(mark: Mapping[str, Any], knots: Knots, ends: Sequence[str]) -> dict[str, Any]:
    if mark.get("xref") != "x":
        return dict(mark)
    return dict(mark) | {end: knots.place(mark[end]) for end in ends}


def knots_of(reader: RunReader, window: Window, axis: Axis) -> Knots | None:
    """Where the window's steps lie on another axis; None where the run does not tell."""
    return _of_time(reader, window) if axis == "time" else _of_tokens(reader, window)


def _of_time(reader: RunReader, window: Window) -> Knots | None:
    clock = reader.clock(window) if isinstance(reader, ClockReader) else None
    if clock is None or not len(clock.steps):
        return None
    steps, seconds = _thinned(clock.steps.astype(np.float64), clock.seconds - clock.began)
    unit, size = next((unit, size) for unit, size, least in _UNITS if seconds[-1] >= least)
    return Knots(steps, _rounded(seconds / size), f"wall time ({unit})", clock.began)


def _of_tokens(reader: RunReader, window: Window) -> Knots | None:
    for buckets in reader.series(TOKENS, bounded(window)):
        here = np.isfinite(buckets.last)
        if here.any():
            tokens = np.maximum.accumulate(buckets.last[here])
            return Knots(*_thinned(buckets.last_step[here].astype(np.float64), tokens), "tokens")
    return None


def _thinned(steps: FloatArray, places: FloatArray) -> tuple[FloatArray, FloatArray]:
    at = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), _MAX_KNOTS)).astype(int))
    return steps[at], places[at]


def _rounded(places: FloatArray) -> FloatArray:
    """A page needs no microseconds; steps that are apart stay apart."""
    return np.round(places, 7)
