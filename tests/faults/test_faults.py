"""A short form of `make faults`: each fault strikes a few times, and harms nothing."""

from pathlib import Path

import pytest
from tests.faults import hostile_network, killed_collector, killed_compactor, torn_spool, two_collectors
from tests.faults.__main__ import strike

NUM_STEPS = 1200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "num_trials"),
    [
        (killed_collector, 3),
        (hostile_network, 20),
        (torn_spool, 6),
        pytest.param(killed_compactor, 2, marks=pytest.mark.postgres),
        pytest.param(two_collectors, 2, marks=pytest.mark.postgres),
    ],
    ids=lambda value: value.NAME if hasattr(value, "NAME") else str(value),
)
def test_a_fault_harms_nothing(fault, num_trials: int, tmp_path: Path) -> None:
    outcome = strike(fault, tmp_path, num_trials, NUM_STEPS)
    assert outcome.is_good, outcome
    assert outcome.num_trials == num_trials and outcome.harm.acknowledged > 0
