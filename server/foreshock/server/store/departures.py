"""Which series of a run are away from their baselines, as its judge last knew."""

from dataclasses import dataclass

import msgspec
import sqlalchemy as sa
import zstandard

from foreshock.server.detection.fast.departure import Departure
from foreshock.server.detection.fast.layer import FastState, stored_departures
from foreshock.server.store.engine import reading
from foreshock.server.store.judgement import read_state


class _StoredCase(msgspec.Struct):
    """Of a stored case what is read here."""

    attempt: int
    detector: bytes


class _StoredDetector(msgspec.Struct):
    """Of a stored detector what is read here; one of before there was a fast layer has none."""

    judged_step: int
    fast: FastState = FastState()


@dataclass(frozen=True, slots=True)
class Departures:
    """What has left its baseline, first movers first.

    attempt, step: the newest that was judged, None before the first. threshold: deviations from which on,
    three samples in a row, a series of this run departs. num_columns: how many are followed.
    """

    attempt: int | None
    step: int | None
    threshold: float
    num_columns: int
    departures: tuple[Departure, ...]


def read_departures(engine: sa.Engine, run_id: str) -> Departures:
    """The departures of a run at its newest judged step."""
    with reading(engine) as connection:
        stored = read_state(connection, run_id)
    if stored is None:
        return Departures(None, None, FastState().tail.threshold_deviations, 0, ())
    case = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(stored[1]), type=_StoredCase)
    detector = msgspec.msgpack.decode(case.detector, type=_StoredDetector)
    fast = detector.fast
    return Departures(
        case.attempt,
        detector.judged_step if detector.judged_step >= 0 else None,
        fast.tail.threshold_deviations,
        fast.num_columns,
        stored_departures(fast),
    )
