"""The options of `foreshock train` that keep and resume."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foreshock.reference_models.checkpoint import Folder, State, newest_checkpoint, read_checkpoint
from foreshock.reference_models.errors import ConfigError
from foreshock.reference_models.trainer import Keeping

CHECKPOINT_EVERY: Final = 100


@dataclass(frozen=True, slots=True)
class CheckpointOptions:
    """Where checkpoints go, how often and how many, and from which a run goes on. None means: not given."""

    checkpoints: Path | None = None
    checkpoint_every: int | None = None
    keep: int = 3
    resume: Path | None = None

    def resumed_state(self) -> State | None:
        """The state to go on from; raises CheckpointError."""
        return None if self.resume is None else read_checkpoint(newest_checkpoint(self.resume))

    def keeping(self, run_id: str, *, rollback_steps: int | None = None) -> Keeping | None:
        """Where the run's states go: into the folder that is resumed from where no other is given.

        A run that goes back by itself, by `rollback_steps`, keeps them at least as often by default.
        Raises ConfigError for a folder that another run has used, and CheckpointError.
        """
        path = self.checkpoints
        if path is None and self.resume is not None:
            path = newest_checkpoint(self.resume).parent
        if path is None:
            if self.checkpoint_every is not None:
                raise ConfigError(
                    f"checkpoint_every is {self.checkpoint_every}, but no folder is given; give --checkpoints"
                )
            return None
        folder = Folder(path, self.keep)
        if self.resume is None and folder.steps():
            raise ConfigError(
                f"checkpoints is {path}, which holds some already; go on from them with --resume {path}, "
                "or give another folder"
            )
        by_default = min(CHECKPOINT_EVERY, rollback_steps or CHECKPOINT_EVERY)
        return Keeping(folder, by_default if self.checkpoint_every is None else self.checkpoint_every, run_id)
