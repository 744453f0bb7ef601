"""The sentences that health is told in."""

from typing import Final

from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.health.alert_facts import AlertFacts
from foreshock.dashboards.health.evidence import Evidence
from foreshock.dashboards.health.movement import (
    LAYER_BAND,
    Movement,
    band_of,
    is_inside,
    worst_composite,
    worst_gain,
)
from foreshock.wire import CATALOGUE, Band

EXIT_GAIN: Final = 10.0
COMPOSITE_BAND: Final = CATALOGUE["composite_amax_forward"].healthy or Band(0.6, 1.6)
_NO_END: Final = 1024.0
_HORIZONS: Final = {"100": "100 steps", "10%": "10 % of the run", "5%": "5 % of the run", "20": "20 steps"}
# Rules whose limit is the end of what the stream's number format can hold
_OVERFLOWS: Final = ("headroom_running_out", "exit_amax", "time_bomb")


def times(gain: float) -> str:
    """A gain with its times sign."""
    short = float(f"{gain:.3g}")
    return f"{words(short)}\N{MULTIPLICATION SIGN}"


def moves(movement: Movement | None, evidence: Evidence) -> str:
    """Which layer moves, or that none does; nothing where no layer is measured."""
    if movement is None:
        return _none_moves(evidence)
    if movement.is_composite:
        product = "" if movement.value is None else f" ({times(movement.value)})"
        return f"No single layer stands out: their product is worst at layer {movement.layer}{product}."
    since = "" if movement.since_step is None else f", since step {movement.since_step:,}"
    head = f"Layer {movement.layer} moves most{since}"
    if movement.value is None:
        return f"{head}, by its {spoken(movement.series)}."
    if movement.is_gain:
        limits = f"healthy {times(LAYER_BAND.low)} to {times(LAYER_BAND.high)}"
        return f"{head}: its gain, mean over tokens, is {times(movement.value)} ({limits})."
    band = band_of(movement)
    limits = "" if band is None else f" (healthy {_limits(band)})"
    return f"{head}: {spoken(movement.series)} at {words(movement.value)}{limits}."


def had_moved(movement: Movement | None) -> str:
    """The same of a run that has ended badly."""
    if movement is None or movement.is_composite:
        return ""
    since = "" if movement.since_step is None else f", since step {movement.since_step:,}"
    value = "" if movement.value is None else f" ({times(movement.value)} at the end)"
    return f"Layer {movement.layer} had moved most{since}{value if movement.is_gain else ''}."


def multiplied(evidence: Evidence) -> str:
    """The worst composite gain."""
    composite = worst_composite(evidence)
    if composite is None:
        return ""
    gain, layer = composite
    place = "" if layer is None else f" at layer {layer}"
    healthy = f"healthy {times(COMPOSITE_BAND.low)} to {times(COMPOSITE_BAND.high)}"
    if is_inside(gain, COMPOSITE_BAND):
        return f"All layers multiplied: {times(gain)} ({healthy})."
    limit = f"; dangerous over {times(EXIT_GAIN)}" if gain > 1 else ""
    return f"All layers multiplied: {times(gain)}{place} ({healthy}{limit})."


def scarce(evidence: Evidence) -> str:
    """That little headroom is left, where that is so."""
    bits, band = evidence.values.get("headroom_bits"), CATALOGUE["headroom_bits"].healthy
    if bits is None or band is None or bits >= band.low:
        return ""
    return f"Only {words(bits)} bits of headroom are left."


def forecast(alert: AlertFacts | None) -> str:
    """The risk of a spike, as it was told."""
    if alert is None or not alert.risk:
        return ""
    horizon = next((one for one in _HORIZONS if one in alert.risk), None)
    if horizon is None:
        return ""
    told = "" if alert.told_step is None else f", as told at step {alert.told_step:,}"
    return f"A spike within {_HORIZONS[horizon]} has a risk of {alert.risk[horizon]:.2f}{told}."


def overflow(limit_step: int | None, evidence: Evidence) -> str:
    """When the stream's number format overflows, where that comes before the run's end."""
    if limit_step is None:
        return ""
    left = limit_step - evidence.last_step
    if left <= 0:
        return f"At the pace then seen, overflow was due near step {limit_step:,}."
    return f"At this pace the stream overflows near step {limit_step:,}, in about {left:,} steps."


def overflow_step(alerts: list[AlertFacts], evidence: Evidence) -> int | None:
    """The first of the alerts' overflows; none after the run's last step is one."""
    known = [step for one in alerts if one.rule in _OVERFLOWS and (step := one.limit_step) is not None]
    first = min(known, default=None)
    is_after = first is not None and evidence.total_steps is not None and first >= evidence.total_steps
    return None if is_after else first


def quiet_loss(evidence: Evidence, alerts: list[AlertFacts]) -> str:
    """That the loss does not show it, where no alert says that it does."""
    if evidence.loss is None or any(one.signal == "loss" or one.rule == "loss_spike" for one in alerts):
        return ""
    return f"The loss ({words(evidence.loss)}) may still look healthy."


def clause(alert: AlertFacts) -> str:
    """What an alert has seen, as a sentence."""
    cause = alert.cause[0].upper() + alert.cause[1:]
    pending = ", not yet for long enough to be sure" if alert.state == "pending" else ""
    return f"{cause}{pending}."


def quoted(rule: str) -> str:
    """A rule's name as people read it."""
    return f"“{rule.replace('_', ' ').capitalize()}”"


def spoken(series: str) -> str:
    """A series' name as words."""
    return series.replace("_", " ")


def _none_moves(evidence: Evidence) -> str:
    gain = worst_gain(evidence)
    if gain is None or gain.value is None or not is_inside(gain.value, LAYER_BAND):
        return ""
    return f"No layer moves: each is within {times(LAYER_BAND.low)} to {times(LAYER_BAND.high)}."


def _limits(band: Band) -> str:
    """The band in words; ends that stand for none are left out."""
    if band.high >= _NO_END:
        return f"from {band.low:g}"
    if band.low <= -_NO_END:
        return f"up to {band.high:g}"
    return f"{band.low:g} to {band.high:g}"
