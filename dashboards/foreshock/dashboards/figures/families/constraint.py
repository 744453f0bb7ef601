"""The constraint on mixing matrices, and what gains cannot see."""

from collections.abc import Mapping
from typing import Final

from foreshock.dashboards.figures.audit import PANELS as AUDIT
from foreshock.dashboards.figures.audit import audit
from foreshock.dashboards.figures.mixing import PANELS as MIXING
from foreshock.dashboards.figures.mixing import mixing
from foreshock.dashboards.figures.panels import series_of
from foreshock.dashboards.figures.run_figure import RunFigure
from foreshock.dashboards.figures.spectrum import SERIES, spectrum
from foreshock.dashboards.figures.vanishing import PANELS as VANISHING
from foreshock.dashboards.figures.vanishing import vanishing

FIGURES: Final[Mapping[str, RunFigure]] = {
    "audit": RunFigure(
        audit,
        "Doubly-stochastic audit",
        "constraint",
        "Whether mixing matrices keep their sums at 1 and their entries at 0 or above.",
        series_of(AUDIT),
    ),
    "mixing": RunFigure(
        mixing,
        "Stream collapse and identity distance",
        "constraint",
        "Whether streams still mix, and are still several; gains see neither.",
        series_of(MIXING),
    ),
    "spectrum": RunFigure(
        spectrum,
        "Singular values of the composite",
        "constraint",
        "In how many directions signal still travels through the whole network.",
        (SERIES,),
    ),
    "vanishing": RunFigure(
        vanishing,
        "Vanishing and cancellation",
        "constraint",
        "Where signal is lost: sums near 0, streams that cancel.",
        series_of(VANISHING),
    ),
}
