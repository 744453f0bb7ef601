"""The learning rate over a run."""

import pytest

from foreshock.reference_models.schedule import Schedule


def test_it_warms_up_peaks_and_falls_along_a_cosine() -> None:
    schedule = Schedule(peak=2.0, warmup_steps=10, total_steps=110, floor_ratio=0.1)
    assert [schedule(step) for step in (0, 4, 9)] == [0.2, 1.0, 2.0]
    assert schedule(10) == 2.0
    assert schedule(60) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert schedule(110) == pytest.approx(0.2)
    rates = [schedule(step) for step in range(10, 111)]
    assert rates == sorted(rates, reverse=True)


def test_it_has_no_warm_up_where_none_is_asked_for() -> None:
    assert Schedule(peak=1.0, warmup_steps=0, total_steps=1)(0) == 1.0
    assert Schedule(peak=1.0, warmup_steps=20, total_steps=10)(9) == 0.5
