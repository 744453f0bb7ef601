"""What a child process does: trains one run of a scenario with the probe offline, and records it.

    python -m foreshock.reference_models.scenarios.recording FILE RUN_ID WORK PARENT

The record is put together in the work folder and moved to its place in one rename, so it is there whole or
not at all. A child whose parent is gone ends: the next `foreshock scenarios run` will train its run anew.
"""

import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from foreshock.probe import Probe, attach
from foreshock.reference_models.corpus import load_domains
from foreshock.reference_models.errors import ModelsError
from foreshock.reference_models.scenarios.plain_values import plain
from foreshock.reference_models.scenarios.record import write_record
from foreshock.reference_models.scenarios.schema import PlannedRun, load_scenario
from foreshock.reference_models.scenarios.trunk import state_folder
from foreshock.reference_models.train import StepReport, Trainer, TrainResult
from foreshock.reference_models.train import run as train_to_end

ORPHANED: Final = 3
RECORD: Final = "record"
PROGRESS: Final = "num_steps_trained"
_PROGRESS_SECONDS: Final = 0.5


class Heartbeat:
    """Says after each optimizer step how far the run is, and ends the process when its parent has ended."""

    def __init__(self, path: Path, parent: int) -> None:
        self._path, self._parent = path, parent
        self._num_steps = 0
        self._told_at = 0.0

    def __call__(self, *_: object) -> None:
        """The optimizer's hook."""
        self._num_steps += 1
        if os.getppid() != self._parent:
            os._exit(ORPHANED)
        now = time.monotonic()
        if now - self._told_at >= _PROGRESS_SECONDS:
            self._told_at = now
            self._path.write_text(str(self._num_steps))


def train_and_record(run: PlannedRun, work: Path, heartbeat: Heartbeat | None = None) -> None:
    """Trains `run` with its spool in `work` and leaves the record in `work`/record."""
    held: list[Probe] = []

    def attach_probe(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Probe:
        if heartbeat:
            optimizer.register_step_post_hook(heartbeat)
        held.append(_attach(run, work)(model, optimizer))
        return held[-1]

    trainer = Trainer(run.config, load_domains(run.config.data))
    result = train_to_end(trainer, attach=attach_probe, on_step=_keep_states(run, trainer, work / RECORD))
    (probe,) = held
    facts = _facts(run, result, probe)
    write_record(Path(probe.spool_directory), work / RECORD, facts)


def _attach(run: PlannedRun, work: Path) -> partial[Probe]:
    return partial(
        attach,
        project="scenarios",
        name=f"{run.header.name} {run.variant}".strip()[:150] + f", seed {run.seed}",
        group=run.header.family,
        seed=run.seed,
        config=run.config.flat(),
        total_steps=run.config.num_steps,
        run_id=run.run_id,
        mode="offline",
        directory=work,
        clip_threshold=run.config.clip,
        # The laboratory records everything, whatever it costs
        budget=None,
        layers="all",
    )


def _keep_states(run: PlannedRun, trainer: Trainer, folder: Path) -> Callable[[StepReport], None] | None:
    """Keeps the states at the steps that are to be forked, where any are; a dead run has no forks."""
    if run.forks is None:
        return None
    steps, states = run.forks.steps(run.config.num_steps), state_folder(folder)

    def keep(report: StepReport) -> None:
        if report.step + 1 in steps and math.isfinite(report.loss):
            states.save(report.step + 1, trainer.state())

    return keep


def _facts(run: PlannedRun, result: TrainResult, probe: Probe) -> dict[str, Any]:
    """What the manifest says of the run, beside what it says of the file."""
    return {
        "run_id": run.run_id,
        "scenario": run.header.name,
        "family": run.header.family,
        "class": run.header.expected,
        "grid": run.grid,
        "point": run.point,
        "variant": run.variant,
        "seed": run.seed,
        "config": plain(run.config),
        "stress_forks": plain(run.forks),
        "state": result.state,
        "num_steps": run.config.num_steps,
        "num_trained_steps": len(result.losses),
        "death_step": result.death_step,
        "num_dropped_frames": probe.num_dropped_frames,
        "seconds": round(result.seconds, 3),
    }


def main(arguments: list[str]) -> int:
    """The child's command line; the exit status."""
    file, run_id, work, parent = arguments
    torch.set_num_threads(1)
    try:
        run = load_scenario(Path(file)).run(run_id)
        folder = Path(work)
        train_and_record(run, folder, Heartbeat(folder / PROGRESS, int(parent)))
    except (ModelsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
