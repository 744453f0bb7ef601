"""What a child process does: trains one variant of a reference model with the probe online.

    python -m foreshock.reference_models.stress.training FILE SEED TOLD

TOLD is JSON: the setting, `max_steps`, `changes`, `has_twin`. Where its run goes stands in FORESHOCK_*
variables. A child whose parent is gone ends.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Final

import torch

from foreshock.probe import Probe, attach
from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import ModelsError
from foreshock.reference_models.stress.knobs import UNCONSTRAINED, Setting
from foreshock.reference_models.stress.own_model import OwnModel
from foreshock.reference_models.train import TrainConfig, train

ORPHANED: Final = 3


def main(arguments: list[str]) -> int:
    """The child's command line; the exit status."""
    file, seed, told = arguments
    given = json.loads(told)
    torch.set_num_threads(1)
    try:
        changes = tuple(given["changes"])
        own = OwnModel.load(Path(file), given["max_steps"], changes, has_twin=given["has_twin"])
        setting = Setting(**given["setting"])
        config = own.config_of(setting, int(seed))
        result = train(config, attach=partial(_attach, config, setting, os.getppid()))
    except (ModelsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(plain_json.dump({"state": result.state, "seconds": result.seconds, "loss": result.final_loss}))
    return 0


def _attach(
    config: TrainConfig,
    setting: Setting,
    parent: int,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
) -> Probe:
    def end_with_parent(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(ORPHANED)

    optimizer.register_step_post_hook(end_with_parent)
    return attach(
        model,
        optimizer,
        name=f"{setting.variant}, seed {config.seed}",
        group=setting.variant,
        # The base and its unconstrained twin are what a restart compares; the rest is made to fail
        tags=[] if setting.variant in ("base", UNCONSTRAINED) else ["stress"],
        seed=config.seed,
        config=config.flat(),
        total_steps=config.num_steps,
        clip_threshold=config.clip,
        # The laboratory records everything, whatever it costs
        budget=None,
        layers="all",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
