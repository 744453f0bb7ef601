"""Groups of seeds side by side: each group's mean and band, every seed faint, deaths marked."""

from typing import Any

import numpy as np

from foreshock.dashboards.figures.frame import Drawing, Figure, Table, Trace, mark_axis, step_axis, value_axis
from foreshock.dashboards.figures.line import outline
from foreshock.dashboards.figures.numbers import finite, plain, positive, steps, words
from foreshock.dashboards.figures.palette import GROUPS, role
from foreshock.dashboards.figures.scale import log_axis
from foreshock.wire import Column, UnknownSignalError, parse_column
from foreshock.wire.readings import FloatArray, GroupSeries, IntArray, SeedSeries

_MAX_STEPS = 500
_DASHES = ("solid", "dash", "dot")


def seeds(groups: list[GroupSeries], column: str) -> Figure:
    """One column of groups of runs: mean as a line, band as an area, a cross where a seed ends."""
    drawing = Drawing(plain(column), "No run of these groups has this series yet.")
    log = _is_log(column)
    for index, group in enumerate(groups):
        # With more groups than colours the dashes tell those of one colour apart
        dash = _DASHES[index // len(GROUPS) % len(_DASHES)]
        drawing.traces += _draw(_thinned(group), GROUPS[index % len(GROUPS)], dash, log=log)
    drawing.table = _table(groups)
    drawing.reading = _reading(groups, column) or drawing.reading
    return drawing.figure(xaxis=step_axis(), yaxis=_value_axis(groups, column, log=log), yaxis9=mark_axis())


def _value_axis(groups: list[GroupSeries], column: str, *, log: bool) -> dict[str, Any]:
    if not log:
        return value_axis(_unit(column))
    return log_axis(_unit(column), [seed.values for group in groups for seed in group.seeds])


def _is_log(column: str) -> bool:
    signal = _parsed(column).signal
    return signal is not None and signal.log_scale


def _parsed(column: str) -> Column:
    try:
        return parse_column(column)
    except UnknownSignalError:
        return Column(column, None, None, None)


def _unit(column: str) -> str:
    signal = _parsed(column).signal
    return signal.unit if signal is not None and signal.unit != "1" else ""


def _thinned(group: GroupSeries) -> GroupSeries:
    """The group on at most 500 steps; the store has bucketed already, so this cuts only unusual grids."""
    stride = -(-len(group.first_step) // _MAX_STEPS) or 1
    if stride == 1:
        return group
    cut = slice(None, None, stride)
    thin = tuple(SeedSeries(one.run_id, one.name, one.seed, one.values[cut]) for one in group.seeds)
    return GroupSeries(
        group.key, group.first_step[cut], group.mean[cut], group.low[cut], group.high[cut], thin
    )


def _draw(group: GroupSeries, colour: str, dash: str, *, log: bool) -> list[Trace]:
    x = steps(group.first_step)
    shown = positive if log else np.asarray
    band_x, band_y = outline(group.first_step.astype(np.float64), shown(group.low), shown(group.high))
    traces: list[Trace] = []
    if band_x:
        traces.append(_band(band_x, band_y, group.key, colour))
    for seed in group.seeds:
        traces.append(_seed_line(x, shown(seed.values), seed, group.key, colour))
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{plain(group.key, 40)} ({_count(len(group.seeds))})",
            "legendgroup": plain(group.key, 40),
            "x": x,
            "y": finite(shown(group.mean)),
            "line": {"color": role(colour), "width": 2.5, "dash": dash},
            "hovertemplate": "%{y:.4g}",
        }
    )
    return traces + _deaths(group, colour, log=log)


def _count(number: int) -> str:
    return f"{number} seed" if number == 1 else f"{number} seeds"


def _band(x: list[float | None], y: list[float | None], key: str, colour: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "band",
        "legendgroup": plain(key, 40),
        "x": x,
        "y": y,
        "fill": "toself",
        "fillcolor": role(f"{colour}-band"),
        "line": {"width": 0},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _seed_line(x: list[int], values: FloatArray, seed: SeedSeries, key: str, colour: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": _seed_name(seed),
        "legendgroup": plain(key, 40),
        "x": x,
        "y": finite(values),
        "line": {"color": role(f"{colour}-faint"), "width": 1.1},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _seed_name(seed: SeedSeries) -> str:
    return plain(seed.name if seed.seed is None else f"{seed.name}, seed {seed.seed}", 60)


def end_of(values: FloatArray, first_step: IntArray) -> int | None:
    """The index after which a seed has no finite value although the group goes on; None where it lives."""
    alive = np.flatnonzero(np.isfinite(values))
    if not len(alive) or alive[-1] >= len(first_step) - 1:
        return None
    return int(alive[-1])


def _deaths(group: GroupSeries, colour: str, *, log: bool) -> list[Trace]:
    ends = [(seed, end_of(seed.values, group.first_step)) for seed in group.seeds]
    dead = [(seed, at) for seed, at in ends if at is not None and (not log or seed.values[at] > 0)]
    if not dead:
        return []
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "seed ends",
            "legendgroup": plain(group.key, 40),
            "x": [int(group.first_step[at]) for _, at in dead],
            "y": [float(seed.values[at]) for seed, at in dead],
            "text": [
                f"{_seed_name(seed)} has its last value at step {int(group.first_step[at]):,}"
                for seed, at in dead
            ],
            "hovertemplate": "<b>%{text}</b><extra></extra>",
            "marker": {
                "symbol": "x",
                "size": 9,
                "color": role(colour),
                "line": {"width": 1, "color": role("surface")},
            },
            "showlegend": False,
        }
    ]


def _table(groups: list[GroupSeries]) -> Table:
    rows = []
    for group in groups:
        for seed in group.seeds:
            alive = np.flatnonzero(np.isfinite(seed.values))
            last = (
                (words(float(seed.values[alive[-1]])), f"{int(group.first_step[alive[-1]]):,}")
                if len(alive)
                else ("", "")
            )
            rows.append((group.key, seed.name, "" if seed.seed is None else str(seed.seed), *last))
    return Table(("group", "run", "seed", "last finite value", "at step"), tuple(rows))


def _reading(groups: list[GroupSeries], column: str) -> str:
    parts = []
    for group in groups:
        dead = sum(end_of(seed.values, group.first_step) is not None for seed in group.seeds)
        alive = np.flatnonzero(np.isfinite(group.mean))
        if len(alive):
            told = f"{group.key}: mean {words(float(group.mean[alive[-1]]))}"
            parts.append(
                f"{told}, {dead} of {len(group.seeds)} seeds end before the last step" if dead else told
            )
    return "; ".join(parts) + f".{_tokens(column)}" if parts else ""


def _tokens(column: str) -> str:
    reduction = _parsed(column).reduction
    return "" if reduction is None else f" Each value is the {reduction} over tokens."
