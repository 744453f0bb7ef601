"""Values that are not finite: they are data here, so they are drawn, in the place where they happened."""

from collections.abc import Sequence

import numpy as np

from foreshock.dashboards.figures.frame import Drawing, Trace
from foreshock.dashboards.figures.numbers import plain, words
from foreshock.dashboards.figures.palette import role
from foreshock.wire.readings import FloatArray, SeriesBuckets


def kinds_of(buckets: SeriesBuckets) -> list[str]:
    """What is not finite in each bucket: "", "NaN", "+Inf", "-Inf" or several joined by "and"."""
    above, below = np.isposinf(buckets.maximum), np.isneginf(buckets.minimum)
    nan = np.isnan(buckets.maximum) & (buckets.count > 0)
    nan |= (buckets.nonfinite > 0) & ~above & ~below
    names = (("+Inf", above), ("-Inf", below), ("NaN", nan))
    return [" and ".join(name for name, where in names if where[at]) for at in range(len(buckets.count))]


def kinds_of_values(values: FloatArray) -> list[str]:
    """The same for plain values: "" where a value is finite."""
    return ["" if np.isfinite(value) else words(value) for value in values.tolist()]


def stretches(steps: Sequence[int], kinds: Sequence[str]) -> list[tuple[int, int, str]]:
    """The unbroken stretches of one kind: (first step, last step, kind)."""
    found: list[tuple[int, int, str]] = []
    before = ""
    for step, kind in zip(steps, kinds, strict=True):
        if kind and kind == before:
            found[-1] = (found[-1][0], step, kind)
        elif kind:
            found.append((step, step, kind))
        before = kind
    return found


def mark_broken(
    drawing: Drawing, steps: Sequence[int], kinds: Sequence[str], name: str, *, wash: bool = True
) -> None:
    """Crosses where each stretch begins and ends, and a wash over all of it."""
    found = stretches(steps, kinds)
    if not found:
        return
    drawing.traces.append(_crosses(found, name))
    if wash:
        drawing.shapes += [_wash(first, last) for first, last, _ in found if last > first]


def broken_since(steps: Sequence[int], kinds: Sequence[str]) -> tuple[int, str] | None:
    """The step from which nothing is finite any more, to the end, with the kind; None where the end is."""
    since = None
    for step, kind in zip(reversed(steps), reversed(kinds), strict=True):
        if not kind:
            break
        since = (step, kind)
    return since


def told_since(steps: Sequence[int], kinds: Sequence[str]) -> str:
    """The same as the end of a sentence, or nothing."""
    since = broken_since(steps, kinds)
    return f"; {since[1]} since step {since[0]:,}" if since else ""


def edge_crosses(places: Sequence[float], texts: Sequence[str]) -> Trace:
    """Crosses at the edge of the drawing: "-Inf" at the bottom, everything else at the top."""
    return {
        "type": "scatter",
        "name": "not finite",
        "mode": "markers",
        "yaxis": "y9",
        "x": list(places),
        "y": [0.05 if "-Inf" in text else 0.9 for text in texts],
        "text": [plain(text, 120) for text in texts],
        "hovertemplate": "<b>%{text}</b><extra></extra>",
        "cliponaxis": False,
        "showlegend": False,
        "marker": {"symbol": "x", "size": 8, "color": role("critical")},
    }


def _crosses(found: Sequence[tuple[int, int, str]], name: str) -> Trace:
    places: list[float] = []
    texts: list[str] = []
    for first, last, kind in found:
        told = (
            f"{name}: {kind} at step {first:,}" if first == last else f"{name}: {kind}, {first:,} to {last:,}"
        )
        places += [first] if first == last else [first, last]
        texts += [told] if first == last else [told, told]
    told_of = [{"name": name, "first": first, "last": last, "kind": kind} for first, last, kind in found]
    return edge_crosses(places, texts) | {"meta": {"stretches": told_of}}


def _wash(first: int, last: int) -> dict[str, object]:
    return {
        "type": "rect",
        "xref": "x",
        "yref": "paper",
        "x0": first,
        "x1": last,
        "y0": 0,
        "y1": 1,
        "layer": "below",
        "fillcolor": role("critical-wash"),
        "line": {"width": 0},
    }
