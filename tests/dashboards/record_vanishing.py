"""Records a run whose signal vanishes: one layer's residual matrix, which decay should spare, shrinks.

    python -m tests.dashboards.record_vanishing OUT

No scenario has such a run, for `build_optimizer` exempts the mixings from decay; here one layer loses that
exemption in mid-training. OUT becomes a folder as `foreshock scenarios run` leaves one.
"""

import sys
from pathlib import Path
from typing import Any

import torch

from foreshock.probe import Probe, attach
from foreshock.reference_models.corpus import load_domains
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.scenarios.record import write_record
from foreshock.reference_models.train import TrainConfig, Trainer, run

LAYER = 5
FIRST_STEP = 200
DECAY_A_STEP = 0.015
# The rate of the mixings beside the rest's: at 1, HC's own gains would grow, which is another failure
MIXING_RATE = 0.05

CONFIG = TrainConfig(
    ModelConfig(connection="hc", num_blocks=4, width=64, context=64, qk_norm=True, num_experts=4),
    num_steps=600,
    warmup_steps=40,
    learning_rate=3e-3,
    seed=0,
)


def record(out: Path) -> None:
    """Trains with the probe offline and puts the record into `out`."""
    trainer = Trainer(CONFIG, load_domains(CONFIG.data))
    _slow_mixings(
        trainer.optimizer, [one for name, one in trainer.model.named_parameters() if ".mixing." in name]
    )
    matrix = trainer.model.get_parameter(f"layers.{LAYER}.mixing.static_res")

    def decay(*_: object) -> None:
        if trainer.step >= FIRST_STEP:
            with torch.no_grad():
                matrix.mul_(1 - DECAY_A_STEP)

    trainer.optimizer.register_step_post_hook(decay)
    held: list[Probe] = []

    def attach_probe(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Probe:
        probe = attach(
            model,
            optimizer,
            project="scenarios",
            name="vanishing, seed 0",
            group="vanishing",
            seed=CONFIG.seed,
            config=CONFIG.flat(),
            total_steps=CONFIG.num_steps,
            run_id="vanishing-s0",
            mode="offline",
            directory=out.parent,
            clip_threshold=CONFIG.clip,
            budget=None,
            layers="all",
        )
        held.append(probe)
        return probe

    run(trainer, attach=attach_probe)
    facts = {"run_id": "vanishing-s0", "scenario": "tests.dashboards.record_vanishing", "seed": CONFIG.seed}
    write_record(Path(held[0].spool_directory), out, facts)


def _slow_mixings(optimizer: torch.optim.Optimizer, mixings: list[torch.nn.Parameter]) -> None:
    ours = set(map(id, mixings))
    template: dict[str, Any] = {}
    for group in optimizer.param_groups:
        template = {name: value for name, value in group.items() if name != "params"}
        group["params"] = [one for one in group["params"] if id(one) not in ours]
    optimizer.add_param_group(
        {**template, "params": mixings, "weight_decay": 0.0, "rate_factor": MIXING_RATE}
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    record(Path(sys.argv[1]))
