"""The residual stream and activations."""

from collections.abc import Mapping
from typing import Final

from foreshock.dashboards.figures.headroom import headroom
from foreshock.dashboards.figures.logits import PANELS as LOGITS
from foreshock.dashboards.figures.logits import logits
from foreshock.dashboards.figures.normalisation import PANELS as NORMALISATION
from foreshock.dashboards.figures.normalisation import normalisation
from foreshock.dashboards.figures.panels import series_of
from foreshock.dashboards.figures.run_figure import RunFigure
from foreshock.dashboards.figures.saturation import PANELS as SATURATION
from foreshock.dashboards.figures.saturation import saturation
from foreshock.dashboards.figures.stream import stream

FIGURES: Final[Mapping[str, RunFigure]] = {
    "headroom": RunFigure(
        headroom,
        "Headroom of the residual stream",
        "stream",
        "How often the largest value may still double before its dtype overflows.",
        ("headroom_bits",),
    ),
    "stream": RunFigure(
        stream,
        "Residual stream over depth",
        "stream",
        "RMS and largest magnitude of what enters each layer, now and at earlier steps.",
        ("stream_rms", "stream_max"),
        over="layers",
    ),
    "saturation": RunFigure(
        saturation,
        "SwiGLU saturation",
        "stream",
        "How much of a SwiGLU stands at its clamp, and the room before it.",
        series_of(SATURATION),
    ),
    "logits": RunFigure(
        logits,
        "Attention and output logits",
        "stream",
        "Logits so large that a softmax saturates.",
        series_of(LOGITS),
    ),
    "normalisation": RunFigure(
        normalisation,
        "Normalisation",
        "stream",
        "What normalisations have to undo, and the massive values of first tokens.",
        series_of(NORMALISATION),
    ),
}
