"""Fates at the edges of the lead window, worked out by hand: 1,500 steps, onset 900, window 450 to 880."""

import numpy as np
import pytest
from tests.reference_models.scenarios.scoring.watchers import a_run

from foreshock.reference_models.scenarios.scoring.outcome import outcome


def told(
    run_on: list[tuple[int, int]], delay: int = 0, onset: int | None = 900, **more: object
) -> tuple[object, ...]:
    on = np.zeros(1500, np.bool_)
    for first, last in run_on:
        on[first:last] = True
    found = outcome(a_run(onset, **more), on, delay)
    return found.fate, found.lead, found.num_false, found.num_pages


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ([], ("missed", 0, 0, 0)),
        ([(450, 451)], ("hit", 450, 0, 1)),
        ([(449, 450)], ("missed", 0, 1, 1)),
        ([(449, 700)], ("early", 0, 1, 1)),
        ([(0, 1500)], ("early", 0, 1, 1)),
        ([(880, 881)], ("hit", 20, 0, 1)),
        ([(881, 882)], ("short", 0, 0, 1)),
        ([(900, 901)], ("late", 0, 0, 1)),
        ([(1349, 1350)], ("late", 0, 0, 1)),
        ([(1350, 1351)], ("missed", 0, 0, 1)),
        # The first page in the window counts; two within 20 steps are one
        ([(600, 601), (620, 621), (700, 701)], ("hit", 300, 0, 2)),
        # A false alarm before does not take the hit away
        ([(100, 120), (800, 801)], ("hit", 100, 1, 2)),
    ],
)
def test_fates_at_the_edges(on: list[tuple[int, int]], expected: tuple[object, ...]) -> None:
    assert told(on) == expected


def test_a_page_that_arrives_late_leads_by_less() -> None:
    assert told([(875, 876)], delay=5)[:2] == ("hit", 20)
    assert told([(875, 876)], delay=6)[:2] == ("short", 0)


def test_without_an_event_every_page_is_false() -> None:
    assert told([(0, 1), (1000, 1400)], onset=None) == (None, 0, 2, 2)


def test_of_an_exogenous_run_what_comes_before_the_fault_is_false_and_no_more() -> None:
    more: dict[str, object] = {"expected": "exogenous", "fault_rows": (900,)}
    assert told([(100, 101), (899, 905), (1200, 1201)], **more) == (None, 0, 2, 3)
    assert told([(100, 101), (899, 905), (1200, 1201)], onset=None, **more) == (None, 0, 2, 3)


def test_an_event_at_a_fault_is_known_as_such() -> None:
    assert a_run(900, fault_rows=(897,)).is_at_fault
    assert not a_run(900, fault_rows=(896,)).is_at_fault
    assert not a_run(900, fault_rows=(901,)).is_at_fault
