"""What a run knows about itself without being told: captured once, at attach."""

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

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
_GIT_TIMEOUT_SECONDS: Final = 2.0


def capture_config(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    mixing: list[tuple[str, nn.Module]],
    given: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The run's configuration: the model's own words, what can be seen, then what the user gave."""
    config: dict[str, Any] = _model_facts(model, mixing)
    if optimizer is not None:
        config["optimizer"] = type(optimizer).__name__
        group = optimizer.param_groups[0]
        for key in ("lr", "betas", "eps", "weight_decay", "momentum"):
            if key in group:
                config[f"optimizer_{key}"] = _plain(group[key])
    config.update(_surroundings())
    config.update({str(key)[:100]: _plain(value) for key, value in (given or {}).items()})
    return config


def _model_facts(model: nn.Module, mixing: list[tuple[str, nn.Module]]) -> dict[str, Any]:
    parameters = list(model.parameters())
    facts: dict[str, Any] = {
        "model": type(model).__name__,
        "num_parameters": sum(parameter.numel() for parameter in parameters),
        "num_mixing_layers": len(mixing),
        "device": str(parameters[0].device) if parameters else "cpu",
        "parameter_dtype": str(parameters[0].dtype).removeprefix("torch.") if parameters else "none",
        "normalisation": _normalisation(model),
    }
    stream_dtype = getattr(model, "stream_dtype", None)
    if isinstance(stream_dtype, torch.dtype):
        facts["stream_dtype"] = str(stream_dtype).removeprefix("torch.")
    own = getattr(model, "foreshock_config", None)
    if isinstance(own, Mapping):
        facts.update({str(key): _plain(value) for key, value in own.items()})
    return facts


def _normalisation(model: nn.Module) -> str:
    names = {type(module).__name__ for module in model.modules() if "norm" in type(module).__name__.lower()}
    return ", ".join(sorted(names)) or "none"


def _surroundings() -> dict[str, Any]:
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "command": _command_line(sys.argv),
        "num_threads": torch.get_num_threads(),
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


def _plain(value: Any) -> Any:
    """JSON's own types; anything else as text, bounded."""
    if value is None or isinstance(value, bool | str | int):
        return value[:_MAX_TEXT] if isinstance(value, str) else value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, Mapping):
        return {str(key)[:100]: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)[:_MAX_TEXT]
