"""A reference model of ours, from a scenario file with one configuration."""

import dataclasses
import hashlib
import json
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from foreshock.reference_models.errors import ConfigError, StressError
from foreshock.reference_models.scenarios.plain_values import NONE, ValueRefused, build, plain
from foreshock.reference_models.scenarios.schema import NOT_OF_TRAIN, load_scenario
from foreshock.reference_models.stress.knobs import CHANGED, UNCONSTRAINED, Setting
from foreshock.reference_models.train_config import TrainConfig

CONSTRAINED: Final = ("mhc", "mhc_v4", "mhc_lite")


@dataclass(frozen=True, slots=True)
class OwnModel:
    """The file's configuration, bounded to `max_steps`.

    `changes` makes one variant more, `changed`; `has_twin` one of HC in the place of the constraint.
    """

    path: Path
    config: TrainConfig
    seeds: tuple[int, ...]
    max_steps: int
    changes: tuple[str, ...] = ()
    has_twin: bool = False

    @classmethod
    def load(
        cls, path: Path, max_steps: int, changes: tuple[str, ...] = (), *, has_twin: bool = False
    ) -> Self:
        """Reads the file; raises ScenarioError, or StressError for a grid of several configurations."""
        scenario = load_scenario(path)
        configs = {repr(run.point): run.config for run in scenario.runs}
        if len(configs) > 1:
            raise StressError(
                f"{path} has a grid of {len(configs)} configurations; a stress test is of one: give a file "
                "without [grid]"
            )
        config = scenario.runs[0].config
        if has_twin and config.model.connection not in CONSTRAINED:
            raise StressError(
                f"unconstrained runs are a twin of {', '.join(CONSTRAINED)}; {path} has the connection "
                f"{config.model.connection}: leave --unconstrained out"
            )
        return cls(path, config, scenario.header.seeds, max_steps, changes, has_twin)

    @property
    def base(self) -> Setting:
        """The configuration's own values, with its steps bounded."""
        return self._setting("base", self.config)

    @property
    def fault_step(self) -> int | None:
        """Where the first planted fault begins."""
        return min((fault.step for fault in self.config.faults), default=None)

    @property
    def digest(self) -> str:
        """Twelve hex digits that stand for the configuration, seed aside."""
        return config_digest(self.config)

    def extra_settings(self) -> Sequence[Setting]:
        """The base with `changes`, where some are given, and the twin, where it is asked for."""
        extra = [self._setting(CHANGED, changed(self.config, self.changes))] if self.changes else []
        return [*extra, self._setting(UNCONSTRAINED, self.config)] if self.has_twin else extra

    def config_of(self, setting: Setting, seed: int) -> TrainConfig:
        """The configuration of one run; raises StressError where the bounded length cannot hold it.

        The warm-up is shortened with the run, so that the rate reaches its peak at the same share of it;
        a run that is made longer keeps the base's warm-up.
        """
        config = self.config
        if setting.variant == CHANGED:
            config = changed(self.config, self.changes)
        elif setting.variant == UNCONSTRAINED:
            config = changed(self.config, ("model.connection=hc",))
        if self.fault_step is not None and self.fault_step >= setting.num_steps:
            raise StressError(
                f"a fault begins at step {self.fault_step}, but a stress run has {setting.num_steps} steps; "
                f"give --max-steps {self.config.num_steps}, or another file"
            )
        warmup = config.warmup_steps
        if self.base.num_steps < config.num_steps:
            warmup = -(-warmup * self.base.num_steps // config.num_steps)
        assert setting.depth is not None and setting.rate is not None and setting.batch is not None
        try:
            return dataclasses.replace(
                config,
                model=dataclasses.replace(config.model, num_blocks=setting.depth),
                num_steps=setting.num_steps,
                learning_rate=setting.rate,
                batch_size=setting.batch,
                warmup_steps=warmup,
                seed=seed,
            )
        except ConfigError as error:
            raise StressError(
                f"the variant {setting.variant} ({setting.words}) cannot be: {error}"
            ) from error

    def _setting(self, variant: str, config: TrainConfig) -> Setting:
        steps = min(config.num_steps, self.max_steps)
        return Setting(variant, steps, config.model.num_blocks, config.learning_rate, config.batch_size)

    def command(self, setting: Setting, seed: int) -> list[str]:
        """A child of ours, told file, values and seed; raises StressError as config_of does."""
        self.config_of(setting, seed)
        told = {"setting": dataclasses.asdict(setting), "max_steps": self.max_steps, "changes": self.changes}
        told |= {"has_twin": self.has_twin}
        module = "foreshock.reference_models.stress.training"
        return [sys.executable, "-m", module, str(self.path.resolve()), str(seed), json.dumps(told)]

    def describe(self) -> dict[str, Any]:
        """The file, its digest, and what of it a run takes."""
        return {
            "kind": "config",
            "path": str(self.path),
            "digest": self.digest,
            "connection": self.config.model.connection,
            "max_steps": self.max_steps,
            "changes": list(self.changes),
            "has_twin": self.has_twin,
        }


def config_digest(config: TrainConfig) -> str:
    """Twelve hex digits that stand for a configuration, seed aside."""
    told = json.dumps(plain(dataclasses.replace(config, seed=0)), sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def changed(config: TrainConfig, changes: Sequence[str]) -> TrainConfig:
    """The configuration with changes such as `model.connection=hc`; raises StressError.

    A key is `model.` or `train.` and a field, as in the file; a value is TOML's, or a bare word.
    """
    tables = _without_null(plain(config))
    for change in changes:
        key, sign, text = change.partition("=")
        section, *rest = key.strip().split(".")
        if not sign or section not in ("model", "train") or not rest:
            raise StressError(f"change is {change!r}; give model.FIELD=VALUE or train.FIELD=VALUE")
        if section == "train" and rest[0] in NOT_OF_TRAIN:
            raise StressError(f"change is {change!r}; {rest[0]} is not for a change: give another file")
        table = tables["model"] if section == "model" else tables
        for part in rest[:-1]:
            table = table.get(part) if isinstance(table.get(part), dict) else {}
        table[rest[-1]] = _value(text.strip())
    try:
        return build(TrainConfig, tables)
    except ValueRefused as refusal:
        raise StressError(f"change is {', '.join(changes)}: {refusal.message}") from refusal


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_null(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_without_null(member) for member in value]
    return NONE if value is None else value
