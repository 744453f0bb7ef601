"""Which column stands where: the layouts of the probe's own streams, fixed at attach."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foreshock.wire import CATALOGUE

# In the order in which MixingObserver writes them: the means over tokens, then the maxima
LAYER_GAINS: Final = (
    "layer_amax_forward",
    "layer_amax_backward",
    "layer_norm_inf",
    "layer_norm_one",
    "layer_row_error",
    "layer_column_error",
)
LAYER_SERIES: Final = (
    *(f"{name}_mean" for name in LAYER_GAINS),
    *(f"{name}_max" for name in LAYER_GAINS),
    "layer_negativity_max",
)
STREAM_SERIES: Final = ("stream_rms", "stream_max")
DEVICE_SCALARS: Final = (
    "loss",
    "grad_norm",
    "canary_grad_norm",
    "canary_embedding_rms",
    "canary_embedding_max",
)
HOST_SCALARS: Final = ("learning_rate", "step_skipped", "step_seconds")
DERIVED: Final = ("grad_norm_clipped", "clip_coefficient")
DERIVED_OF_LAYERS: Final = (
    "headroom_bits",
    "canary_gain",
    "canary_rank",
    "canary_lead_steps",
    "canary_spread",
)


def per_layer(series: Sequence[str], num_layers: int) -> tuple[str, ...]:
    """Column names series by series, layers within."""
    return tuple(f"{name}[{layer}]" for name in series for layer in range(num_layers))


@dataclass(frozen=True)
class Plan:
    """The columns of a model with `num_layers` mixing layers.

    The device row of the step stream holds a [series, layers] block and then the device scalars; host
    scalars and what is derived from the row follow when the writer has it in hand.
    """

    num_layers: int

    @property
    def device_columns(self) -> tuple[str, ...]:
        """What observers write on the device at every step."""
        return per_layer((*LAYER_SERIES, *STREAM_SERIES), self.num_layers) + DEVICE_SCALARS

    @property
    def step_columns(self) -> tuple[str, ...]:
        """The layout of the stream `step`."""
        derived = DERIVED + (DERIVED_OF_LAYERS if self.num_layers else ())
        return self.device_columns + HOST_SCALARS + derived

    @property
    def composite_columns(self) -> tuple[str, ...]:
        """The layout of the stream `composite`; empty for a model without mixing layers."""
        signals = (signal for signal in CATALOGUE.values() if signal.cadence == "composite")
        return tuple(column for signal in signals for column in signal.columns(self.num_layers))

    @property
    def num_block_rows(self) -> int:
        """Series in the [series, layers] block of the device row."""
        return len(LAYER_SERIES) + len(STREAM_SERIES)
