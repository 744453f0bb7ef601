"""How a folder is scored."""

from dataclasses import dataclass

from foreshock.reference_models.errors import ScoreError


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """What can be chosen; the defaults are the protocol's.

    jobs: processes that watch runs.
    num_replicates, seed: of the bootstrap.
    delay_steps: steps by which a page arrives late (a flush interval): leads are told net of it.
    varied: also rank the watchers under each of the 27 variations of the label rules.
    """

    jobs: int = 1
    num_replicates: int = 1000
    seed: int = 0
    delay_steps: int = 0
    varied: bool = False

    def __post_init__(self) -> None:
        for name, least in (("jobs", 1), ("num_replicates", 10), ("seed", 0), ("delay_steps", 0)):
            if getattr(self, name) < least:
                raise ScoreError(f"{name} is {getattr(self, name)}; give {least} or more")
