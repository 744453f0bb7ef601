"""Loss and data: how training goes."""

from collections.abc import Mapping
from typing import Final

from foreshock.dashboards.figures.domains import PREFIX, domains
from foreshock.dashboards.figures.loss import loss
from foreshock.dashboards.figures.run_figure import RunFigure

FIGURES: Final[Mapping[str, RunFigure]] = {
    "loss": RunFigure(
        loss,
        "Loss and risk",
        "loss",
        "Each bucket's mean between its lowest and highest; alerts stand where they fired, risk beneath.",
        ("loss",),
        overview=True,
    ),
    "domains": RunFigure(
        domains,
        "Loss by domain",
        "loss",
        "Which of the data's domains the loss comes from.",
        (PREFIX,),
    ),
}
