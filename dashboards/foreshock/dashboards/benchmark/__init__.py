"""How well the detectors warn: the scores that the package ships, as figures.

Each JSON file of this folder is one evaluation, slimmed by `make score`; none is left out because it turned
out badly.
"""

from collections.abc import Callable, Mapping
from typing import Final

from foreshock.dashboards.benchmark.evaluation import Evaluation, evaluations
from foreshock.dashboards.benchmark.froc import froc
from foreshock.dashboards.benchmark.lead import lead
from foreshock.dashboards.benchmark.molchan import molchan
from foreshock.dashboards.benchmark.reliability import reliability
from foreshock.dashboards.figures.frame import Figure

BENCHMARK_FIGURES: Final[Mapping[str, Callable[[Evaluation], Figure]]] = {
    "lead": lead,
    "froc": froc,
    "molchan": molchan,
    "reliability": reliability,
}

__all__ = ["BENCHMARK_FIGURES", "Evaluation", "evaluations"]
