"""What the restart verdict knows of a run, as plain numbers."""

import math
from dataclasses import dataclass
from typing import Final

ENDED: Final = ("finished", "crashed", "lost")
# Below this share of its steps a run's peak and final loss are those of another, shorter run
WHOLE_SHARE: Final = 0.9


@dataclass(frozen=True, slots=True)
class WarningAlert:
    """An alert that spoke of what was to come, and the step at which it fired."""

    step: int
    rule: str


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One run.

    `log_peak_gain`: logarithm of the worst composite amax over layers, both directions, mean over
    tokens, its peak after the warm-up; infinite where it overflowed, None where none was measured.
    `final_loss`: mean over the last 5 % of the steps. A run that `died` ended in a non-finite loss: it has
    no final loss. Of a stress test also: `warnings` in rising steps, `fault_step` where a planted fault
    begins, `onset_step` of what happened to its loss.
    """

    run_id: str
    name: str
    key: str
    seed: int | None
    state: str
    total_steps: int | None
    last_step: int | None
    log_peak_gain: float | None
    final_loss: float | None
    died: bool
    has_layers: bool
    is_stress: bool
    warnings: tuple[WarningAlert, ...] = ()
    fault_step: int | None = None
    onset_step: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the run will change no more; one that was lost may yet come back."""
        return self.state in ENDED

    @property
    def num_steps(self) -> int:
        """Steps that it took."""
        return 0 if self.last_step is None else self.last_step + 1

    @property
    def is_short(self) -> bool:
        """Whether it has ended with less than nine tenths of its steps."""
        return (
            self.has_ended
            and self.total_steps is not None
            and self.last_step is not None
            and self.num_steps < WHOLE_SHARE * self.total_steps
        )

    @property
    def is_whole(self) -> bool:
        """Whether it reached its end alive."""
        return self.state == "finished" and not self.died and not self.is_short

    @property
    def peak(self) -> float | None:
        """Its log peak gain where that is final and finite, for a test of variance."""
        if not self.has_ended or self.log_peak_gain is None or not math.isfinite(self.log_peak_gain):
            return None
        return self.log_peak_gain

    @property
    def log_final_loss(self) -> float | None:
        """Logarithm of the final loss of a run that reached its end alive; None for losses not above 0."""
        if not self.is_whole or self.final_loss is None or not 0 < self.final_loss < math.inf:
            return None
        return math.log(self.final_loss)
