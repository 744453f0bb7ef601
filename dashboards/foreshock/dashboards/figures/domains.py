"""The loss by domain of the data: code, prose, mathematics, captions."""

from typing import Final

import numpy as np

from foreshock.dashboards.figures.frame import Drawing, Figure
from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.figures.panels import Drawn, draw_panels
from foreshock.dashboards.figures.track import Track, read_tracks
from foreshock.wire.readings import RunReader, Window

PREFIX: Final = "domain_loss/"
_MOST_READ: Final = 64
_MOST_DRAWN: Final = 6


def domains(reader: RunReader, window: Window) -> Figure:
    """The loss of each domain; of many, those whose loss is highest now."""
    drawing = Drawing("Loss by domain", "No loss of a domain has been logged yet.")
    names = {one: one.removeprefix(PREFIX) for one in reader.columns() if one.startswith(PREFIX)}
    tracks = read_tracks(reader, dict(list(names.items())[:_MOST_READ]), window)
    tracks.sort(key=_newest, reverse=True)
    figure = draw_panels(reader, window, drawing, [Drawn("nat", tracks[:_MOST_DRAWN])] if tracks else [])
    figure["layout"]["meta"]["reading"] = _reading(tracks, len(names)) or drawing.reading
    return figure


def _newest(track: Track) -> float:
    at = track.last()
    return -np.inf if at is None else float(track.values[at])


def _reading(tracks: list[Track], num_domains: int) -> str:
    known = [track for track in tracks if track.last() is not None]
    if not known:
        return "No domain's loss is finite." if tracks else ""
    high, low = known[0], known[-1]
    text = f"Highest in {high.name}, {words(_newest(high))}; lowest in {low.name}, {words(_newest(low))}"
    if num_domains > _MOST_DRAWN:
        text += f"; drawn are the {min(len(tracks), _MOST_DRAWN)} highest of {num_domains}"
    return f"{text}."
