"""Gradients and what the optimizer makes of them."""

from collections.abc import Mapping
from typing import Final

from foreshock.dashboards.figures.clip import clip
from foreshock.dashboards.figures.panels import series_of
from foreshock.dashboards.figures.run_figure import RunFigure
from foreshock.dashboards.figures.stability_tax import PANELS as STABILITY_TAX
from foreshock.dashboards.figures.stability_tax import stability_tax
from foreshock.dashboards.figures.update import PANELS as UPDATE
from foreshock.dashboards.figures.update import update

FIGURES: Final[Mapping[str, RunFigure]] = {
    "clip": RunFigure(
        clip,
        "Gradient and clipping",
        "optimizer",
        "Gradient norm before and after clipping, and the share that clipping leaves.",
        ("grad_norm", "grad_norm_clipped", "clip_coefficient"),
        overview=True,
    ),
    "stability_tax": RunFigure(
        stability_tax,
        "Stability tax",
        "optimizer",
        "Ever stronger clipping and normalisation, above the loss that pays for it.",
        series_of(STABILITY_TAX[:2]),
    ),
    "update": RunFigure(
        update,
        "Updates",
        "optimizer",
        "What the optimizer makes of the gradient: its size and direction, and what the loss gets for it.",
        series_of(UPDATE),
    ),
}
