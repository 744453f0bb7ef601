"""What the tests of training share: text that is the same under every Python, small models, one thread."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from foreshock.reference_models.corpus import Domain
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.train_config import TrainConfig


def text_of(name: str, state: int) -> Domain:
    """Zipf-like words from a written-out generator."""
    words = []
    for _ in range(3000):
        state = (state * 1103515245 + 12345) % 2**31
        words.append(f"{name}{int(200 ** (state / 2**31))}")
    return Domain(name, "a test", torch.frombuffer(bytearray(" ".join(words).encode()), dtype=torch.uint8))


@pytest.fixture(scope="session")
def two_domains() -> tuple[Domain, ...]:
    """Two domains that a model can tell apart."""
    return text_of("c", 12345), text_of("P", 54321)


@pytest.fixture
def one_thread() -> None:
    """Small models train fastest so, and repeatably."""
    torch.set_num_threads(1)


def tiny(connection: str = "mhc", **changes: Any) -> TrainConfig:
    """A run of a few milliseconds a step; `model_` before a name changes the model."""
    model = {
        name.removeprefix("model_"): value for name, value in changes.items() if name.startswith("model_")
    }
    own = {name: value for name, value in changes.items() if not name.startswith("model_")}
    base = TrainConfig(
        model=ModelConfig.sized(connection, 1, width=32, context=16, **model),
        num_steps=12,
        learning_rate=1e-2,
        warmup_steps=3,
        batch_size=4,
    )
    return dataclasses.replace(base, **own)


class Telemetry:
    """A probe that keeps what it hears."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.logged: dict[str, list[int]] = {}

    def step(self, *, loss: Tensor, step: int) -> None:
        self.steps.append(step)

    def domains(self, windows: Any) -> None:
        """Not looked at."""

    def log(self, values: Any, *, step: int | None = None) -> None:
        assert step is not None
        for name in values:
            self.logged.setdefault(name, []).append(step)

    def note(self, kind: str, **detail: Any) -> None: ...

    def finish(self, state: str = "finished") -> None: ...
