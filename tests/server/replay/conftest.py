"""Traces as people have them: a small run that spikes, in every form, and the command as a shell calls it."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from foreshock.cli import build_app


@dataclass
class Told:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def replay() -> Callable[..., Told]:
    """`foreshock replay`, as it was installed."""

    def call(*arguments: str | Path) -> Told:
        result = CliRunner().invoke(build_app("replay"), ["replay", *map(str, arguments)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Told(result.exit_code, result.stdout, result.stderr)

    return call


def spiking(num_steps: int = 400, at: int = 300) -> list[float]:
    """A loss that falls, and jumps for twelve steps."""
    noise = np.random.default_rng(0).standard_normal(num_steps)
    return [
        2.5 + 3 * math.exp(-step / 40) + 0.04 * float(noise[step]) + (1.0 if at <= step < at + 12 else 0.0)
        for step in range(num_steps)
    ]


@pytest.fixture
def losses() -> list[float]:
    return spiking()


def write_events(folder: Path, scalars: list[tuple[int, str, float]]) -> None:
    """(step, tag, value) as TensorBoard's own writer stores them, in that order."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for step, tag, value in scalars:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(wall_time=1.7e9 + step, step=step, summary=summary))
    writer.close()
