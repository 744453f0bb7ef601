"""The risk that the judge forecast, tick by tick: pieces of ticks in rows, and buckets of them for readers.

A tick takes some 11 bytes, and from step 2,048 of a run on there is one in sixteen: less than a byte a step,
where a series takes 2.7. Where a piece ends depends on the ticks alone, so a judge that was replaced
leaves the same bytes as one that was not.
"""

from typing import Any, Final

import numpy as np
import sqlalchemy as sa
import zstandard

from foreshock.server.detection.forecast.forecaster import HORIZON_NAMES
from foreshock.server.detection.risk import Risk
from foreshock.server.errors import DamagedError
from foreshock.server.store.cells import cell_width
from foreshock.server.store.chunks import checksum
from foreshock.server.store.engine import reading
from foreshock.server.store.schema import risks
from foreshock.wire.readings import RiskBuckets, Window

# The last piece is written anew with every tick that comes: it must stay small
PIECE_TICKS: Final = 256
LEVEL: Final = 1


def write_risk(connection: sa.Connection, run_id: str, attempt: int, found: Risk) -> None:
    """Adds the ticks of one attempt that are newer than those it has; what comes again is passed over.

    A last piece that is damaged is left as it is: nothing here may keep the judge from a run.
    """
    if not len(found):
        return
    of_attempt = (risks.c.run_id == run_id, risks.c.attempt == attempt)
    query = sa.select(risks).where(*of_attempt).order_by(risks.c.first_step.desc()).limit(1)
    last = connection.execute(query).one_or_none()
    if last is not None:
        found = found.part(int(found.steps.searchsorted(last.last_step, "right")))
        if len(found) and last.num_ticks < PIECE_TICKS and not piece_fault(last):
            found = Risk.join([unpack_risk(last), found])
            connection.execute(sa.delete(risks).where(*of_attempt, risks.c.first_step == last.first_step))
    for start in range(0, len(found), PIECE_TICKS):
        piece = found.part(start, start + PIECE_TICKS)
        connection.execute(sa.insert(risks).values(run_id=run_id, attempt=attempt, **_pack(piece)))


def read_risk(engine: sa.Engine, run_id: str, attempt: int, window: Window) -> RiskBuckets:
    """The largest risk of each bucket of a window; raises DamagedError where bytes are not what was stored.

    A window is widened to whole buckets; edges are multiples of their width, a power of two.
    """
    of_attempt = (risks.c.run_id == run_id, risks.c.attempt == attempt)
    edges = sa.select(sa.func.min(risks.c.first_step), sa.func.max(risks.c.last_step)).where(*of_attempt)
    with reading(engine) as connection:
        first, last = connection.execute(edges).one()
        if first is None:
            return _bucketed(Risk.none(), 1)
        low = first if window.start is None else max(first, window.start)
        high = last if window.stop is None else min(last, window.stop)
        width = cell_width(low, max(low, high), window.buckets)
        start, stop = low // width * width, (high // width + 1) * width
        query = (
            sa.select(risks)
            .where(*of_attempt, risks.c.first_step < stop, risks.c.last_step >= start)
            .order_by(risks.c.first_step)
        )
        found = Risk.join([unpack_risk(row) for row in connection.execute(query)])
    rows = found.steps.searchsorted([start, stop])
    return _bucketed(found.part(int(rows[0]), int(rows[1])), width)


def piece_fault(row: Any) -> str | None:
    """What is wrong with a row's bytes, None where nothing is."""
    if checksum(row.body) != row.checksum:
        return "has another checksum than its bytes"
    try:
        found = unpack_risk(row)
    except (zstandard.ZstdError, ValueError) as error:
        return f"cannot be read ({error})"
    if found.steps[0] != row.first_step or found.steps[-1] != row.last_step:
        return "holds other steps than its row says"
    if (np.diff(found.steps) <= 0).any() or not ((found.values >= 0) & (found.values <= 1)).all():
        return "holds what is no risk over rising steps"
    return None


def unpack_risk(row: Any) -> Risk:
    """The ticks of a row of `risks`; raises DamagedError where its bytes are not those that were stored."""
    if checksum(row.body) != row.checksum:
        raise DamagedError(
            "the checksum of stored risks does not fit: the database file is damaged, restore a backup"
        )
    data = zstandard.ZstdDecompressor().decompress(row.body)
    num_ticks = row.num_ticks
    steps = np.cumsum(np.frombuffer(data, "<i8", num_ticks))
    planes = np.frombuffer(data, np.uint8, offset=steps.nbytes).reshape(4, -1)
    values = np.ascontiguousarray(planes.T).view("<f4").reshape(len(HORIZON_NAMES), num_ticks)
    return Risk(steps, values.T.astype(np.float64))


def _pack(piece: Risk) -> dict[str, Any]:
    gaps = np.diff(piece.steps, prepend=0).astype("<i8")
    # Byte planes of one horizon after the other: near values share their upper bytes
    values = np.ascontiguousarray(piece.values.T, "<f4")
    planes = np.ascontiguousarray(values.reshape(-1, 1).view(np.uint8).T)
    body = zstandard.ZstdCompressor(level=LEVEL).compress(gaps.tobytes() + planes.tobytes())
    return {
        "first_step": int(piece.steps[0]),
        "last_step": int(piece.steps[-1]),
        "num_ticks": len(piece),
        "body": body,
        "checksum": checksum(body),
    }


def _bucketed(found: Risk, width: int) -> RiskBuckets:
    # Stored as float32, of which more digits tell nothing
    told = np.round(found.values, 7)
    by_horizon = {name: told[:, place] for place, name in enumerate(HORIZON_NAMES)}
    return RiskBuckets.of(width, found.steps, by_horizon)
