"""The checks after a fault see each kind of harm: one that cannot fail is worth nothing."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.faults.check import (
    check,
    check_judgements,
    check_storage,
    compare,
    open_engine,
    read_judgements,
    wait_until_judged,
)
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm

from foreshock.server.store.schema import alert_transitions, chunks, outbox, records

NUM_STEPS = 1200


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Harm, Load, Path]]:
    """A load that met no fault: what its check says, and the database."""
    folder = tmp_path_factory.mktemp("delivered")
    with Collector(folder, str(folder / "whole.db")) as collector:
        load = Load(collector.url, make_load(NUM_STEPS), seconds=0)
        load.start()
        load.join()
        with open_engine(collector.database) as engine:
            wait_until_judged(engine, load.logs)
        harm = check(collector, load)
        collector.stop()
    yield harm, load, folder / "whole.db"


@pytest.fixture
def engine(delivered: tuple[Harm, Load, Path], tmp_path: Path) -> Iterator[sa.Engine]:
    """A copy of that database, to be harmed."""
    shutil.copy(delivered[2], tmp_path / "copy.db")
    with open_engine(str(tmp_path / "copy.db")) as engine:
        yield engine


def test_what_met_no_fault_is_unharmed(delivered: tuple[Harm, Load, Path]) -> None:
    harm, load, _ = delivered
    assert harm == Harm(acknowledged=sum(log.num_frames for log in load.logs))


def flip_a_bit(steps: Any, times: Any, bits: Any) -> tuple[Any, Any, Any]:
    bits[2, 7] ^= 1
    return steps, times, bits


@pytest.mark.parametrize(
    ("harmed", "expected"),
    [
        (lambda steps, times, bits: (steps, times, bits), Harm()),
        (lambda steps, times, bits: (steps[1:], times[1:], bits[:, 1:]), Harm(lost=1)),
        (lambda steps, times, bits: (steps[:-1], times[:-1], bits[:, :-1]), Harm()),
        (lambda steps, times, bits: (np.append(steps, 5), np.append(times, 0), bits[:, [*range(10), 5]]),
         Harm(doubled=1)),
        (lambda steps, times, bits: (np.append(steps[:-1], 10**6), times, bits), Harm(false=1)),
        (lambda steps, times, bits: (steps, times + (steps == 3), bits), Harm(false=1)),
        (flip_a_bit, Harm(false=1)),
    ],
)  # fmt: skip
def test_frames_that_are_lost_doubled_or_false_are_counted(
    harmed: Callable[..., tuple[Any, Any, Any]], expected: Harm
) -> None:
    sent = make_load(NUM_STEPS)[0][0].streams[0]
    bits = sent.values[:10].T.copy().view(np.uint32)
    steps, times, bits = harmed(sent.steps[:10].copy(), sent.times[:10].copy(), bits)
    block = {"columns": sent.layout.columns, "steps": steps.tobytes(), "times": times.tobytes()}
    # The last two were not acknowledged: nobody can ask for them
    assert compare(sent, sent.steps[:8], [block | {"values": bits.tobytes()}]) == expected


def test_damaged_chunks_and_frames_in_both_places_are_counted(engine: sa.Engine) -> None:
    assert check_storage(engine) == Harm()
    with engine.begin() as connection:
        connection.execute(sa.update(chunks).where(chunks.c.part == 0).values(body=chunks.c.steps))
        of_dying = (records.c.run_id == "dying", records.c.layout_id == 0, records.c.kind == "batch")
        connection.execute(sa.update(records).where(*of_dying).values(first_step=1, last_step=2))
    harm = check_storage(engine)
    assert harm.checksums >= 1 and harm.doubled >= 1


def test_a_transition_that_is_unlike_and_a_notification_too_few_are_counted(
    engine: sa.Engine, delivered: tuple[Harm, Load, Path]
) -> None:
    with engine.begin() as connection:
        later = sa.update(alert_transitions).values(step=alert_transitions.c.step + 1)
        connection.execute(
            later.where(alert_transitions.c.number == 1, alert_transitions.c.run_id == "dying")
        )
        connection.execute(sa.delete(outbox).where(outbox.c.run_id == "ranks", outbox.c.number == 1))
    assert check_judgements(read_judgements(engine), delivered[1].logs).judgements >= 2
