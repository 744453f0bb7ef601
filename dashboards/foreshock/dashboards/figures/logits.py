"""Logits that saturate a softmax: in attention, and at the output."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel("logit", {"max_attention_logit": "largest attention logit"}),
    Panel("log Z", {"log_z_mean": "log Z, mean over tokens", "log_z_max": "log Z, worst token"}),
)


def logits(reader: RunReader, window: Window) -> Figure:
    """The largest attention logit of any layer, and the logarithm of the output's partition function."""
    return panelled(
        reader, window, "Attention and output logits", "No logits have been measured yet.", PANELS
    )
