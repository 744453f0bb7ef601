"""Why the risk is what it is: the features that add most, with their signals, layers and numbers."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from foreshock.server.detection.fast.departure import moved_first
from foreshock.server.detection.forecast.channels import (
    CHANNELS,
    PLACE,
    Channel,
    columns_of_channel,
)
from foreshock.server.detection.forecast.features import FEATURES
from foreshock.server.detection.forecast.forecaster import Outlook, Sight
from foreshock.server.detection.forecast.fusion import STRUCTURAL
from foreshock.server.detection.rule import Moment
from foreshock.wire import parse_column

MAX_REASONS: Final = 3
# What adds less than this to a logit is not worth a word
_LEAST_SHARE: Final = 0.1
_FAR_STEPS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Reasons:
    """The ranked reasons of one forecast.

    channels: by how much they add, most first, with what they add to the logit.
    signal, layer: the loudest one's series and layer; eta_steps: until its limit, None where it is
    not headed there.
    """

    moment: Moment
    outlook: Outlook
    sight: Sight
    head: int
    channels: tuple[tuple[Channel, float], ...]
    signal: str | None
    layer: int | None
    eta_steps: float | None

    @property
    def probability(self) -> float:
        """The head's own probability."""
        return round(float(1 / (1 + math.exp(-self.sight.logits[self.head]))), 4)

    def say(self) -> str:
        """The forecast and its reasons in words."""
        risk = self.sight.risk
        if self.head == STRUCTURAL:
            what = f"The run's state is that of runs that diverge ({self.probability:.0%} did)"
        else:
            what = (
                f"A spike or divergence is likely: {risk['10%']:.0%} within 10 % of the run, "
                f"{risk['100']:.0%} within 100 steps, {risk['20']:.0%} within 20"
            )
        motion, row = self.moment.motion, self.moment.row
        movers = "" if motion is None else moved_first(motion.departures(row))
        if not self.channels:
            return f"{what}; no signal stands out.{movers}"
        parts = [self._tell(channel, added) for channel, added in self.channels]
        return f"{what}. {' '.join(parts)}{movers}"

    def _tell(self, channel: Channel, added: float) -> str:
        view, place, row = self.outlook.view, PLACE[channel.name], self.moment.row
        # What comes seldom may have no newest mean in a short window, and still a longer one
        means = (view.fast[row, place], view.middle[row, place], view.slow[row, place])
        now = next((mean for mean in means if math.isfinite(mean)), math.nan)
        trend = means[1] - means[2]
        layer = worst_layer(self.moment, channel)
        where = "" if layer is None else f" (layer {layer})"
        moved = self._moved(channel, float(trend))
        name = channel.words[0].upper() + channel.words[1:]
        return f"{name}{where} is {_in_units(channel, float(now)):.4g}{moved} (adds {added:.1f})."

    def _moved(self, channel: Channel, trend: float) -> str:
        if not math.isfinite(trend):
            return ""
        window = self.outlook.view.window
        if channel.scale == "plain":
            return f", {trend:+.3g} over the last {window} steps"
        return f", x{math.exp(min(trend, 700.0)):.3g} over the last {window} steps"


def explain(moment: Moment, outlook: Outlook, sight: Sight, head: int) -> Reasons:
    """The reasons of a tick's forecast, for one head of the model."""
    shares = outlook.model.shares(sight.features, head)
    by_channel: dict[str, float] = {}
    for feature, share in zip(FEATURES, shares.tolist(), strict=True):
        by_channel[feature.channel] = by_channel.get(feature.channel, 0.0) + share
    ranked = sorted(by_channel, key=lambda name: -by_channel[name])
    told = tuple(
        (CHANNELS[PLACE[name]], by_channel[name]) for name in ranked if by_channel[name] >= _LEAST_SHARE
    )[:MAX_REASONS]
    if not told:
        return Reasons(moment, outlook, sight, head, (), None, None, None)
    loudest = told[0][0]
    etas = (steps_to_limit(outlook, moment.row, channel) for channel, _ in told)
    known = [eta for eta in etas if eta is not None]
    return Reasons(
        moment,
        outlook,
        sight,
        head,
        told,
        signal_of(moment, loudest),
        worst_layer(moment, loudest),
        min(known) if known else None,
    )


def steps_to_limit(outlook: Outlook, row: int, channel: Channel) -> float | None:
    """Steps until a channel passes its limit at the pace of its last windows; 0 where it has."""
    if channel.limit is None:
        return None
    view, place = outlook.view, PLACE[channel.name]
    now = float(view.fast[row, place])
    pace = float(view.middle[row, place] - view.slow[row, place]) / (0.75 * view.window)
    sign = 1.0 if channel.worst == "max" else -1.0
    left = sign * (channel.limit - now)
    if math.isnan(left) or math.isnan(pace):
        return None
    if left <= 0:
        return 0.0
    steps = left / (sign * pace) if sign * pace > 0 else math.inf
    return round(steps, 1) if steps < _FAR_STEPS else None


def worst_layer(moment: Moment, channel: Channel) -> int | None:
    """The layer that a channel's newest value is of, None for a series without layers."""
    column = _worst_column(moment, channel)
    return None if column is None else parse_column(column).layer


def signal_of(moment: Moment, channel: Channel) -> str:
    """The series that a channel's newest value is of."""
    column = _worst_column(moment, channel)
    return channel.series[0] if column is None else parse_column(column).series


def _worst_column(moment: Moment, channel: Channel) -> str | None:
    sample = moment.sample
    places = columns_of_channel(sample.columns, channel)
    values = sample.values[places]
    if not np.isfinite(values).any():
        return None
    values = np.where(np.isfinite(values), values, -np.inf if channel.worst == "max" else np.inf)
    place = int(np.argmax(values) if channel.worst == "max" else np.argmin(values))
    return sample.columns.names[places[place]]


def _in_units(channel: Channel, value: float) -> float:
    if channel.scale == "plain":
        return value
    if channel.scale == "log1p":
        return math.expm1(min(value, 700.0))
    return math.exp(min(value, 700.0))
