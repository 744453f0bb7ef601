"""Tracks in words: what is out of its band and since when, else how it stands."""

from collections.abc import Sequence

import numpy as np

from foreshock.dashboards.figures.broken import told_since
from foreshock.dashboards.figures.frame import Table, thin
from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.figures.track import Track
from foreshock.wire import UNBOUNDED, Band

_MOST = 3


def reading_of(tracks: Sequence[Track]) -> str:
    """What a person should know: first what is not finite or out of its band, then how the others stand."""
    grave = [track for track in tracks if _is_grave(track)]
    if grave:
        return _sentence([_told(track) for track in grave])
    if not tracks:
        return ""
    return _sentence([f"{_told(track)}{_healthy(track)}" for track in tracks])


def _sentence(parts: list[str]) -> str:
    more = f"; {len(parts) - _MOST} more" if len(parts) > _MOST else ""
    text = "; ".join(parts[:_MOST])
    return f"{text[:1].upper()}{text[1:]}{more}."


def _healthy(track: Track) -> str:
    return "" if track.band is None else f" (healthy {band_words(track.band)})"


def _is_grave(track: Track) -> bool:
    at = track.last()
    return at is None or bool(told_since(track.steps, track.kinds)) or outside_since(track) is not None


def _told(track: Track) -> str:
    at = track.last()
    if at is None:
        return f"{track.name} is not finite"
    unit = f" {track.unit}" if track.unit else ""
    where = "" if track.layers is None else f" at layer {track.layers[at]}"
    text = f"{track.name} {words(float(track.values[at]))}{unit}{where}{told_since(track.steps, track.kinds)}"
    since = outside_since(track)
    if since is None or track.band is None:
        return text
    way = "over" if float(track.values[at]) > track.band.high else "under"
    edge = track.band.high if way == "over" else track.band.low
    return f"{text}, {way} {words(edge)} since step {since:,}"


def outside_since(track: Track) -> int | None:
    """The step from which the last unbroken stretch outside the band runs; a NaN does not break it."""
    if track.band is None:
        return None
    inside = np.flatnonzero((track.values >= track.band.low) & (track.values <= track.band.high))
    is_outside = (track.values < track.band.low) | (track.values > track.band.high)
    outside = np.flatnonzero(is_outside & np.isfinite(track.values))
    later = outside[outside > inside[-1]] if len(inside) else outside
    return track.steps[int(later[0])] if len(later) else None


def band_words(band: Band) -> str:
    """A healthy band in words: `0.9 to 1.1`, `up to 30`, `from 4`."""
    if band.low > -UNBOUNDED and not band.has_top:
        return f"from {words(band.low)}"
    is_one_sided = band.low <= 0 < band.high and band.low != -band.high
    return f"up to {words(band.high)}" if is_one_sided else f"{words(band.low)} to {words(band.high)}"


def table_of(tracks: Sequence[Track]) -> Table:
    """The values step by step, with the layer that each is of, thinned to what a person reads."""
    if not tracks:
        return Table()
    at = [dict(zip(track.steps, range(len(track.steps)), strict=True)) for track in tracks]
    shown = thin([(f"{step}",) for step in sorted({step for track in tracks for step in track.steps})])
    rows = []
    for (step,) in shown:
        cells = (_cell(track, of.get(int(step))) for track, of in zip(tracks, at, strict=True))
        rows.append((f"{int(step):,}", *cells))
    return Table(("step", *(track.name for track in tracks)), tuple(rows))


def _cell(track: Track, at: int | None) -> str:
    if at is None:
        return ""
    layer = "" if track.layers is None else f", layer {track.layers[at]}"
    return f"{track.kinds[at] or words(float(track.values[at]))}{layer}"
