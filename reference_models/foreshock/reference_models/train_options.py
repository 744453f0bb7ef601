"""The options of `foreshock train`, as given, and the configuration that follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

import torch

from foreshock.probe.settings import ProbeSettings, resolve_settings
from foreshock.reference_models.anticipatory_options import AnticipatoryOptions
from foreshock.reference_models.checkpoint_options import CheckpointOptions
from foreshock.reference_models.errors import ConfigError
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.recipe_options import RecipeOptions
from foreshock.reference_models.train_config import TrainConfig

WARMUP_STEPS: Final = 20
OPTION_OF_FIELD: Final = {
    "num_blocks": "--blocks",
    "num_steps": "--steps",
    "num_streams": "--streams",
    "learning_rate": "--lr",
    "warmup_steps": "--warmup",
    "batch_size": "--batch-size",
    "loss_scale": "--loss-scale",
    "run_id": "--run-id",
    "layer_connections": "--layer-connections",
    "num_experts": "--experts",
    "top_k": "--top-k",
    "num_hash_layers": "--hash-layers",
    "swiglu_clamp": "--swiglu-clamp",
    "z_loss": "--z-loss",
    "eps": "--adam-eps",
    "router_rate_factor": "--router-lr-factor",
    "undecayed": "--no-decay",
    "batch_ramp": "--batch-ramp",
    "mix_change": "--mix-change",
    "checkpoint_every": "--checkpoint-every",
    "period_steps": "--period",
    "rollback_steps": "--rollback",
} | {
    field: f"--{field}"
    for field in (
        "connection", "exit", "width", "context", "precision", "clip", "seed", "device", "threads", "url",
        "mode", "project", "name", "group", "tag", "optimizer", "betas", "accumulate", "schedule", "rewarm",
        "mix", "fault", "checkpoints", "keep", "resume", "anticipatory", "lag",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The command line, as given. None means: not given."""

    connection: str | None = None
    layer_connections: str | None = None
    num_blocks: int = 12
    learning_rate: float = 3e-3
    seed: int = 0
    num_steps: int = 400
    warmup_steps: int | None = None
    batch_size: int = 8
    width: int | None = None
    context: int | None = None
    num_streams: int | None = None
    exit: str = "sum"
    num_experts: int = 0
    top_k: int | None = None
    num_hash_layers: int | None = None
    swiglu_clamp: float | None = None
    qk_norm: bool = False
    precision: str = "fp32"
    recompute: bool = False
    clip: float = 1.0
    loss_scale: float | None = None
    device: str | None = None
    data: tuple[str, ...] = ()
    url: str | None = None
    mode: str | None = None
    project: str | None = None
    name: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    run_id: str | None = None
    directory: Path | None = None
    threads: int | None = None
    recipe: RecipeOptions = field(default_factory=RecipeOptions)
    keeping: CheckpointOptions = field(default_factory=CheckpointOptions)
    routing: AnticipatoryOptions = field(default_factory=AnticipatoryOptions)

    @classmethod
    def of_command(cls, given: Mapping[str, Any]) -> Self:
        """The options as the command read them, by the names of the fields here and in the parts."""
        return cls(
            **_own(cls, given),
            recipe=RecipeOptions(**_own(RecipeOptions, given)),
            keeping=CheckpointOptions(**_own(CheckpointOptions, given)),
            routing=AnticipatoryOptions(**_own(AnticipatoryOptions, given)),
        )

    def train_config(self) -> TrainConfig:
        """The configuration that follows; raises ConfigError."""
        self._refuse_empty()
        if self.clip < 0:
            raise ConfigError(f"clip is {self.clip}; give a threshold above 0, or 0 to switch clipping off")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads is {self.threads}; give 1 or more")
        if self.warmup_steps is not None and self.warmup_steps > self.num_steps > 0:
            raise ConfigError(
                f"warmup_steps is {self.warmup_steps}, more than --steps {self.num_steps}, so the rate "
                "would never reach its peak; give fewer"
            )
        return TrainConfig(
            model=self._model_config(),
            num_steps=self.num_steps,
            learning_rate=self.learning_rate,
            warmup_steps=self._applied_warmup(),
            batch_size=self.batch_size,
            clip=self.clip or None,
            loss_scale=self.loss_scale,
            seed=self.seed,
            device=self.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            data=self.data,
            anticipatory=self.routing.config(),
            **self.recipe.config_fields(),
        )

    def run_name(self, config: TrainConfig) -> str:
        """What people call the run."""
        return self.name or f"{config.model.connection}, seed {config.seed}"

    def probe_settings(self, config: TrainConfig, resumed: str | None = None) -> ProbeSettings:
        """What the probe will be told; raises AttachError or ConfigError before anything is loaded.

        `resumed` is the identity of the run that goes on, where a checkpoint knows one.
        """
        if resumed and self.run_id and self.run_id != resumed:
            raise ConfigError(
                f"run_id is {self.run_id}, but the checkpoint is of run {resumed}; leave --run-id out"
            )
        settings = resolve_settings(
            run_id=resumed or self.run_id,
            project=self.project,
            name=self.run_name(config),
            url=self.url,
            token=None,
            mode=self.mode,
            directory=self.directory,
        )
        exists = any(settings.run_directory.glob("rank-*.json"))
        if settings.mode != "disabled" and exists and self.keeping.resume is None:
            raise ConfigError(
                f"run {settings.run_id} exists already in {settings.directory}; give another "
                "--run-id, or none for a new one"
            )
        return settings

    def _model_config(self) -> ModelConfig:
        if self.connection and self.layer_connections:
            raise ConfigError(
                f"connection is {self.connection!r} beside --layer-connections; give one of the two"
            )
        optional = ("layer_connections", "top_k", "num_hash_layers", "swiglu_clamp")
        given = {field: getattr(self, field) for field in optional if getattr(self, field) is not None}
        return ModelConfig.sized(
            "mixed" if self.layer_connections else self.connection or "mhc",
            self.num_blocks,
            width=self.width,
            context=self.context,
            num_streams=self.num_streams,
            precision=self.precision,
            recompute=self.recompute,
            exit=self.exit,
            num_experts=self.num_experts,
            qk_norm=self.qk_norm,
            **given,
        )

    def _applied_warmup(self) -> int:
        return min(WARMUP_STEPS, max(0, self.num_steps)) if self.warmup_steps is None else self.warmup_steps

    def _refuse_empty(self) -> None:
        """An empty text is a shell variable that was not set: to take the default instead would hide it."""
        texts = ("project", "name", "group", "run_id", "url", "mode", "device")
        given = [(name, getattr(self, name)) for name in texts] + [("tag", tag) for tag in self.tags]
        for name, text in given:
            if text is not None and not text.strip():
                raise ConfigError(f"{name} is empty; give it a value or leave it out")


def _own(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """What of `given` are fields of `kind`; None means not given, so that the field's default holds."""
    own = {each.name: given[each.name] for each in fields(kind) if given.get(each.name) is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in own.items()}
