"""What a run's summary tells of the forecast: the risks, and how far it is to each limit."""

from typing import Any

from foreshock.server.detection.forecast.channels import CHANNELS
from foreshock.server.detection.forecast.forecaster import Outlook
from foreshock.server.detection.forecast.reasons import steps_to_limit


def look_ahead(outlook: Outlook) -> dict[str, Any]:
    """The last tick's `risk` by horizon and `steps_to_limit` by channel; nothing where no tick is.

    A channel that has no limit, or is not headed there, is not among them.
    """
    if not len(outlook.rows):
        return {}
    row = int(outlook.rows[-1])
    sight = outlook.at(row)
    left = {channel.name: steps_to_limit(outlook, row, channel) for channel in CHANNELS}
    return {
        "risk": {} if sight is None else sight.risk,
        "steps_to_limit": {name: steps for name, steps in left.items() if steps is not None},
    }
