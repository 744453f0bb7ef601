"""What a run knows about itself without being told: captured once, at attach."""

import importlib.metadata
import itertools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from foreshock.probe.declare import clean_text, fit_config
from foreshock.probe.host import hardware

_PACKAGES: Final = ("torch", "numpy", "foreshock", "transformers", "triton")
# Environments hold secrets, so these are the only names that are ever recorded
_ENVIRONMENT: Final = (
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "SLURM_JOB_ID",
    "SLURM_JOB_NAME",
    "PYTORCH_CUDA_ALLOC_CONF",
)
_SECRET: Final = re.compile(r"^-.*(token|secret|password|key)", re.IGNORECASE)
_MAX_TEXT: Final = 500
_MAX_DEPTH: Final = 6
_MAX_ITEMS: Final = 1000
_GIT_TIMEOUT_SECONDS: Final = 2.0


def capture_config(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    num_mixing_layers: int,
    given: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The run's configuration: the model's own words, what can be seen, then what the user gave."""
    config: dict[str, Any] = _model_facts(model, num_mixing_layers)
    if optimizer is not None:
        config["optimizer"] = type(optimizer).__name__
        group = optimizer.param_groups[0]
        for key in ("lr", "betas", "eps", "weight_decay", "momentum"):
            if key in group:
                config[f"optimizer_{key}"] = _plain(group[key])
    config.update(_surroundings())
    config.update(_plain(given or {}))
    return fit_config(config)


def _model_facts(model: nn.Module, num_mixing_layers: int) -> dict[str, Any]:
    parameters = list(model.parameters())
    facts: dict[str, Any] = {
        "model": type(model).__name__,
        "num_parameters": sum(parameter.numel() for parameter in parameters),
        "num_mixing_layers": num_mixing_layers,
        "device": str(parameters[0].device) if parameters else "cpu",
        "parameter_dtype": str(parameters[0].dtype).removeprefix("torch.") if parameters else "none",
        "normalisation": _normalisation(model),
    }
    stream_dtype = getattr(model, "stream_dtype", None)
    if isinstance(stream_dtype, torch.dtype):
        facts["stream_dtype"] = str(stream_dtype).removeprefix("torch.")
    own = getattr(model, "foreshock_config", None)
    if isinstance(own, Mapping):
        facts.update(_plain(own))
    return facts


def _normalisation(model: nn.Module) -> str:
    names = {type(module).__name__ for module in model.modules() if "norm" in type(module).__name__.lower()}
    return ", ".join(sorted(names)) or "none"


def _surroundings() -> dict[str, Any]:
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "command": clean_text(_command_line(sys.argv)),
        "num_threads": torch.get_num_threads(),
        **hardware(),
    }
    for package in _PACKAGES:
        try:
            facts[f"version_{package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    facts.update({f"env_{name}": os.environ[name][:_MAX_TEXT] for name in _ENVIRONMENT if name in os.environ})
    facts.update(_git_state())
    return facts


def _command_line(arguments: Sequence[str]) -> str:
    """The command line, with the values of options that sound like secrets left out."""
    shown: list[str] = []
    for argument in arguments:
        hides = bool(shown) and _SECRET.search(shown[-1]) and "=" not in shown[-1]
        name, equals, _ = argument.partition("=")
        shown.append("***" if hides else f"{name}=***" if equals and _SECRET.search(name) else argument)
    return " ".join(shown)[:_MAX_TEXT]


def _git_state() -> dict[str, Any]:
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_dirty": bool(status), "git_branch": _git("branch", "--show-current")}


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ("git", *arguments), capture_output=True, text=True, timeout=_GIT_TIMEOUT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _plain(value: Any, depth: int = 0) -> Any:
    """JSON's own types, bounded in length and depth; anything else as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        items = itertools.islice(value.items(), _MAX_ITEMS)
        return {_text(key)[:100]: _plain(item, depth + 1) for key, item in items}
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in itertools.islice(value, _MAX_ITEMS)]
    return _text(value)


def _text(value: Any) -> str:
    """Even of an object whose own `str` fails: a configuration must not stop a training run."""
    try:
        return clean_text(str(value)[:_MAX_TEXT])
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"
