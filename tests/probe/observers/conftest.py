"""Places for one observer's columns, and what it has written there."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from foreshock.probe.clock import Clock
from foreshock.wire import MISSING, is_missing


class Bench:
    """Starts one observer with places of its own; all sheets are due until told otherwise."""

    def __init__(self) -> None:
        self.clock = Clock({"composite": 10, "slow": 10, "rare": 50})
        self._places: dict[Any, Tensor] = {}
        self._observer: Any = None

    def start(self, observer: Any) -> Any:
        self._observer = observer
        for cadence, names in observer.columns.items():
            missing = torch.from_numpy(MISSING.repeat(len(names)))
            self._places[cadence] = missing.clone()
        observer.start(self._places, self.clock)
        return observer

    def end_step(self) -> None:
        with torch.no_grad():
            self._observer.end_step()

    def read(self) -> dict[str, float]:
        """What has been written, by column; what is missing is left out."""
        written: dict[str, float] = {}
        for cadence, names in self._observer.columns.items():
            values = self._places[cadence].numpy()
            for name, value, absent in zip(names, values, is_missing(values), strict=True):
                if not absent:
                    written[name] = float(value)
        return written

    def close(self) -> None:
        if self._observer is not None:
            self._observer.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A bench for one observer, closed at the end."""
    one = Bench()
    yield one
    one.close()


def same(left: float, right: float, rel: float = 1e-5) -> bool:
    return (math.isnan(left) and math.isnan(right)) or left == pytest.approx(right, rel=rel, abs=1e-7)
