"""The options of `foreshock train` that change how it trains, in the short forms of a command line."""

from dataclasses import dataclass
from typing import Any, cast

from foreshock.reference_models.batch import BatchRamp
from foreshock.reference_models.errors import ConfigError
from foreshock.reference_models.faults import Fault
from foreshock.reference_models.mixture import MixChange, MixPoint, Mixture
from foreshock.reference_models.planted_faults import parse_fault
from foreshock.reference_models.schedule import Rewarm
from foreshock.reference_models.train_config import OptimizerConfig, OptimizerName


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """Optimizer, schedule, batches, mix and faults, as given."""

    optimizer: str = "adamw"
    betas: str = "0.9,0.95"
    adam_eps: float = 1e-8
    router_lr_factor: float = 1.0
    undecayed: tuple[str, ...] = ()
    schedule: str = "cosine"
    rewarms: tuple[str, ...] = ()
    accumulate: int = 1
    z_loss: float = 0.0
    batch_ramp: str | None = None
    mix: tuple[str, ...] = ()
    mix_change: str = "step"
    faults: tuple[str, ...] = ()

    def config_fields(self) -> dict[str, Any]:
        """The fields of TrainConfig that follow; raises ConfigError."""
        points = tuple(MixPoint.parse(text) for text in self.mix)
        if not points and self.mix_change != "step":
            raise ConfigError(f"mix_change is {self.mix_change!r}, but no mix is given; give --mix as well")
        return {
            "optimizer": OptimizerConfig(
                name=cast(OptimizerName, self.optimizer),
                betas=_betas(self.betas),
                eps=self.adam_eps,
                router_rate_factor=self.router_lr_factor,
                undecayed=self.undecayed,
            ),
            "schedule": self.schedule,
            "rewarms": tuple(_rewarm(text) for text in self.rewarms),
            "accumulate": self.accumulate,
            "z_loss": self.z_loss,
            "batch_ramp": _batch_ramp(self.batch_ramp),
            "mix": Mixture(points, cast(MixChange, self.mix_change)) if points else None,
            "faults": tuple(parse_fault_text(text) for text in self.faults),
        }


def parse_fault_text(text: str) -> Fault:
    """Reads `bad_batch step=100 share=0.5`, weights as `weights=code:1,prose:0`; raises ConfigError."""
    kind, *pairs = text.split() or [""]
    given: dict[str, Any] = {"kind": kind}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or name in given:
            raise ConfigError(
                f"fault is {text!r}; give a kind and then each KEY=VALUE once: bad_batch step=100"
            )
        given[name] = _weights(value, text) if name == "weights" else _plain(value)
    return parse_fault(given)


def _weights(value: str, text: str) -> dict[str, float]:
    try:
        return {
            name: float(weight) for name, _, weight in (part.rpartition(":") for part in value.split(","))
        }
    except ValueError:
        raise ConfigError(f"fault is {text!r}; give its weights as weights=code:1,prose:0") from None


def _plain(value: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def _betas(text: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"betas is {text!r}; give two numbers with a comma, such as 0.9,0.95") from None
    return first, second


def _rewarm(text: str) -> Rewarm:
    try:
        step, warmup, factor = text.split(":") + [""] * (2 - text.count(":"))
        return Rewarm(int(step), int(warmup or 0), float(factor or 1.0))
    except ValueError:
        raise ConfigError(
            f"rewarm is {text!r}; give STEP, STEP:WARMUP or STEP:WARMUP:FACTOR, such as 500:20:1.0"
        ) from None


def _batch_ramp(text: str | None) -> BatchRamp | None:
    if text is None:
        return None
    start, _, num_steps = text.partition(":")
    try:
        return BatchRamp(int(start), int(num_steps))
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"batch_ramp is {text!r}; give WINDOWS:STEPS, such as 2:200") from None
