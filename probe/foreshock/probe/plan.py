"""Which column stands where: the layouts of the probe's own streams, fixed at attach."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from foreshock.probe.observers.observer import Columns
from foreshock.wire import Cadence

HOST_SCALARS: Final = ("learning_rate", "step_skipped", "step_seconds", "probe_seconds")
DERIVED: Final = ("grad_norm_clipped", "clip_coefficient", "clipped_share")
DERIVED_OF_STREAM: Final = ("headroom_bits",)
DERIVED_OF_GAINS: Final = ("canary_gain", "canary_rank", "canary_lead_steps", "canary_spread")
# What the canary follows, and what headroom is measured by
CANARY_SERIES: Final = ("layer_amax_forward_mean", "layer_amax_backward_mean")
STREAM_MAX: Final = "stream_max"


@dataclass(frozen=True)
class Plan:
    """The columns that observers write, by sheet.

    Host scalars, and what is derived from the row, follow those of the sheet `step` when the writer has it
    in hand.
    """

    sheets: Mapping[Cadence, tuple[str, ...]]
    all_layers: bool

    @classmethod
    def of(cls, columns: Iterable[Columns], *, all_layers: bool) -> "Plan":
        """The sheets of several observers, one after the other; `all_layers` has deep models told whole."""
        sheets: dict[Cadence, tuple[str, ...]] = {"step": ()}
        for own in columns:
            for cadence, names in own.items():
                sheets[cadence] = sheets.get(cadence, ()) + names
        filled = {cadence: names for cadence, names in sheets.items() if names or cadence == "step"}
        return cls(filled, all_layers)

    @property
    def step_columns(self) -> tuple[str, ...]:
        """The layout of the stream `step`."""
        derived: tuple[str, ...] = DERIVED
        if self.places(STREAM_MAX):
            derived += DERIVED_OF_STREAM
        if self.places(CANARY_SERIES[0]):
            derived += DERIVED_OF_GAINS
        return self.sheets["step"] + HOST_SCALARS + derived

    @property
    def slow_sheets(self) -> Mapping[Cadence, tuple[str, ...]]:
        """The layouts of the other streams."""
        return {cadence: names for cadence, names in self.sheets.items() if cadence != "step"}

    def places(self, series: str) -> list[int]:
        """Where the layers of a series stand in the device row of `step`, by layer."""
        columns = self.sheets["step"]
        return [place for place, column in enumerate(columns) if column.partition("[")[0] == series]
