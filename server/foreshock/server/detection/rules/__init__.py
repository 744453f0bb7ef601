"""The documents' rules, one a file, all on by default. Thresholds and sources: ../README.md."""

from foreshock.server.detection.rule import AnyRule
from foreshock.server.detection.rules.canary_spread import CanarySpread
from foreshock.server.detection.rules.constraint_broken import ConstraintBroken
from foreshock.server.detection.rules.exit_amax import ExitAmax
from foreshock.server.detection.rules.exit_stability_tax import ExitStabilityTax
from foreshock.server.detection.rules.headroom import HeadroomRunningOut
from foreshock.server.detection.rules.loss_spike import LossSpike
from foreshock.server.detection.rules.no_data import NoData
from foreshock.server.detection.rules.nonfinite import Nonfinite
from foreshock.server.detection.rules.spike_ahead import SpikeAhead
from foreshock.server.detection.rules.structural_risk import StructuralRisk
from foreshock.server.detection.rules.time_bomb import TimeBomb
from foreshock.server.detection.rules.vanishing import Vanishing

__all__ = [
    "CanarySpread",
    "ConstraintBroken",
    "ExitAmax",
    "ExitStabilityTax",
    "HeadroomRunningOut",
    "LossSpike",
    "NoData",
    "Nonfinite",
    "SpikeAhead",
    "StructuralRisk",
    "TimeBomb",
    "Vanishing",
    "default_rules",
]


def default_rules() -> tuple[AnyRule, ...]:
    """Every rule with its default settings, in the order in which they judge a step."""
    return (
        Nonfinite(),
        ExitAmax(),
        HeadroomRunningOut(),
        SpikeAhead(),
        StructuralRisk(),
        TimeBomb(),
        CanarySpread(),
        ConstraintBroken(),
        Vanishing(),
        ExitStabilityTax(),
        LossSpike(),
        NoData(),
    )
