"""foreshock as a watcher says what its detector says, schedule changes in their place, weights by family."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from tests.reference_models.scenarios.scoring.recorded import calm

from foreshock.reference_models.scenarios.scoring.foreshock import Foreshock
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, FloatArray, ScheduleChange
from foreshock.server.detection.block import Block, block_of
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector

CONTEXT = RunContext(total_steps=1500)


def dying() -> Block:
    losses = calm(0)[:400]
    losses[380:] = np.nan
    return block_of({"loss": losses, "headroom_bits": np.linspace(12, -1, 400)})


def test_alarms_are_those_of_the_detector_however_the_steps_are_cut() -> None:
    block = dying()
    transitions = Detector(CONTEXT).judge(block)
    attempt = Attempt("r", "F1", CONTEXT)
    whole = Foreshock().watch(attempt, (block,))
    cut = Foreshock().watch(attempt, (block.part(0, 111), block.part(111, 400)))
    assert whole.alarms == cut.alarms
    assert [(one.step, one.rule, one.state) for one in whole.alarms or ()] == [
        (one.step, one.rule, one.state) for one in transitions
    ]
    assert {"event", "rule"} <= {one.claim for one in whole.alarms or ()}
    for name in ("score_S", "risk_SH", "structural_S"):
        assert getattr(cut, name).tobytes() == getattr(whole, name).tobytes()


def test_without_a_forecast_the_score_is_the_level_of_open_alerts() -> None:
    watch = Foreshock(forecast=None).watch(Attempt("r", "F1", CONTEXT), (dying(),))
    assert watch.score_S.max() == 3.0
    assert watch.score_S[0] == 0


def test_schedule_changes_are_told_before_the_steps_from_theirs_on() -> None:
    heard: list[object] = []

    class Listening:
        def note_schedule(self, step: int, what: str) -> None:
            heard.append((step, what))

        def judge(self, block: Block) -> list[Any]:
            heard.extend(block.steps.tolist())
            return []

    block = block_of({"loss": [1.0] * 6})
    changes = (ScheduleChange(4, "batch"), ScheduleChange(2, "rate"), ScheduleChange(9, "never"))
    watcher = Foreshock(make_judge=lambda context, weights: Listening())
    watcher.watch(Attempt("r", "F1", CONTEXT, changes), (block.part(0, 3), block.part(3, 6)))
    assert heard == [0, 1, (2, "rate"), 2, 3, (4, "batch"), 4, 5]


def test_a_family_is_judged_by_weights_that_have_not_seen_it() -> None:
    def forecast(
        attempt: Attempt, blocks: Sequence[Block], weights: Any
    ) -> tuple[FloatArray, FloatArray | None, FloatArray | None]:
        return np.full(sum(map(len, blocks)), float(weights)), None, None

    class Deaf:
        def note_schedule(self, step: int, what: str) -> None:
            pass

        def judge(self, block: Block) -> list[Any]:
            return []

    watcher = Foreshock(
        weights=1.0,
        weights_by_family={"F1": 2.0},
        forecast=forecast,
        make_judge=lambda context, weights: Deaf(),
    )
    block = block_of({"loss": [1.0] * 3})
    for family, expected in (("F1", 2.0), ("F2", 1.0)):
        assert watcher.watch(Attempt("r", family, CONTEXT), (block,)).score_S.tolist() == [expected] * 3
