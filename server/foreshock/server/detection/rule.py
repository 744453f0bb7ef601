"""The seam of every rule: a moment of a run in, its own state in and out, verdicts out.

A rule says at each step whether its condition holds, is clear, or lies between. Whether that opens,
fires or resolves an alert is decided in one place, `foreshock.server.alerts.life`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol, TypeVar

import msgspec

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.fast.layer import Motion
from foreshock.server.detection.forecast.forecaster import Outlook
from foreshock.server.detection.history import History
from foreshock.server.detection.sample import FloatArray, Sample
from foreshock.wire.messages import Claim, Severity


class Condition(IntEnum):
    """What a rule sees: BETWEEN neither opens an alert nor resolves one (hysteresis)."""

    CLEAR = 0
    BETWEEN = 1
    HOLDS = 2


class Schedule(msgspec.Struct, frozen=True):
    """The last logged change of a schedule. Changes in quick succession are one, from its start."""

    step: int
    last_step: int
    what: str


@dataclass(frozen=True, slots=True)
class Moment:
    """A step as rules see it: a row of a block, its measures `now`, and the history that ends with it.

    outlook: the forecast over the block. first_number: how many steps were judged before the block.
    motion: how the block's series stand to their baselines.
    """

    context: RunContext
    block: Block
    row: int
    now: FloatArray
    history: History
    first_step: int
    schedule: Schedule | None = None
    outlook: Outlook | None = None
    first_number: int = 0
    motion: Motion | None = None

    @property
    def sample(self) -> Sample:
        """What was measured at the step."""
        return self.block.sample(self.row)

    @property
    def num_judged(self) -> int:
        """How many steps were judged up to this one, itself too."""
        return self.first_number + self.row + 1

    @property
    def step(self) -> int:
        """The step that is judged."""
        return int(self.block.steps[self.row])

    @property
    def time(self) -> float:
        """When it was."""
        return float(self.block.times[self.row])

    def since_schedule(self, window_steps: int) -> int:
        """The first step of a window that does not look back over a logged schedule change."""
        start = self.step - window_steps
        return start if self.schedule is None else max(start, self.schedule.step)


class Grounds(msgspec.Struct, frozen=True):
    """What a verdict rests on, for programs; the reason says the same in words.

    signal: the series that speaks loudest, None for a rule over several.
    layer: its layer, None for a series without layers.
    risk: probability of a spike or divergence within "20" and "100" steps, "5%" and "10%" of the run.
    eta_steps: steps until the threshold is passed at the present pace, None where it is not headed there.
    """

    signal: str | None = None
    layer: int | None = None
    risk: dict[str, float] | None = None
    eta_steps: float | None = None


NO_GROUNDS = Grounds()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a rule holds of one subject at one step.

    An alert fires once the condition has held for `hold_steps` and `hold_seconds`, and resolves once it
    has been clear for `clear_steps` and `clear_seconds`; a pending one lapses when it has not held for
    `lapse_steps`. Seconds pass by the samples' own times. `say` gives the reason in plain words with the
    numbers; it is asked only when an alert changes. `patience_from` restarts the patience (a logged
    schedule change). `labels` are what silences may look for besides the alert's own names. `again` tells
    anew of an alert that fires already.
    """

    condition: Condition
    severity: Severity
    value: float | None
    say: Callable[[], str]
    advice: str
    subject: str = "run"
    hold_steps: int = 0
    clear_steps: int = 0
    lapse_steps: int | None = None
    patience_from: int | None = None
    grounds: Grounds = NO_GROUNDS
    again: bool = False
    hold_seconds: float = 0.0
    clear_seconds: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        """What was seen, over how many steps, and where."""
        return self.say()


S = TypeVar("S", bound=msgspec.Struct)


class Rule(Protocol[S]):
    """One rule of detection: settings are its fields, `state_type()` is where every run starts."""

    @property
    def name(self) -> str:
        """Its name, under which its alerts go."""

    @property
    def claim(self) -> Claim:
        """What its alerts claim."""

    @property
    def state_type(self) -> type[S]:
        """The state's class; its defaults are the state before the first step."""

    def update(self, moment: Moment, state: S) -> tuple[S, Sequence[Verdict]]:
        """Judges one step; no verdict means that the step says nothing new."""


AnyRule = Rule[Any]
SILENT: Sequence[Verdict] = ()


class Stateless(msgspec.Struct, frozen=True):
    """The state of a rule that looks at the history alone."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a condition must last: a share of the run, at most so many steps.

    share: of the run's total steps; where they are unknown, `at_most` steps count.
    at_most: steps.
    """

    share: float = 0.05
    at_most: int = 200

    def steps(self, context: RunContext) -> int:
        """The patience of this run."""
        return context.share_of_run(self.share, self.at_most)
