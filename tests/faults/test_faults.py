"""A short form of `make faults`: two of its faults strike a few times, and harm nothing."""

from pathlib import Path
from typing import Any

import pytest
from tests.faults import hostile_network, killed_collector
from tests.faults.__main__ import strike

# Enough for a window that becomes chunks
NUM_STEPS = 1200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "num_trials"),
    [(killed_collector, 3), (hostile_network, 20)],
    ids=["killed_collector", "hostile_network"],
)
def test_a_fault_harms_nothing(fault: Any, num_trials: int, tmp_path: Path) -> None:
    outcome = strike(fault, tmp_path, num_trials, NUM_STEPS)
    assert outcome.is_good, outcome
    assert outcome.num_trials == num_trials and outcome.harm.acknowledged > 0
