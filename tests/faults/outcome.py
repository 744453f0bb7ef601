"""What a fault has cost: nothing, or how many frames of which kind."""

from dataclasses import asdict, dataclass
from typing import Any, Self


class NotHereError(Exception):
    """Raised when a fault cannot be brought about on this machine."""


@dataclass(frozen=True, slots=True)
class Harm:
    """Counts of what must never happen, beside the frames that were acknowledged.

    lost: acknowledged and not there, or asked for once more. doubled: there more than once.
    false: there with other bits than were sent, or never sent. checksums: rows of chunks or envelopes
    that do not fit theirs, or a damaged file. judgements: states, alerts and transitions unlike those of a
    collector that met no fault.
    """

    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0
    false: int = 0
    checksums: int = 0
    judgements: int = 0

    def __add__(self, other: Self) -> "Harm":
        pairs = zip(asdict(self).items(), asdict(other).values(), strict=True)
        return Harm(**{name: one + another for (name, one), another in pairs})

    @property
    def is_none(self) -> bool:
        """Whether nothing was harmed."""
        return not (self.lost or self.doubled or self.false or self.checksums or self.judgements)


@dataclass(frozen=True, slots=True)
class Outcome:
    """A fault, how often it struck, what that harmed, and what else shows that it did strike.

    `failure`: why it could not be seen to its end; then the counts are of nothing.
    """

    fault: str
    num_trials: int
    harm: Harm
    seconds: float
    remark: str = ""
    failure: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether it was seen to its end, and nothing was harmed."""
        return self.harm.is_none and self.failure is None

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)
