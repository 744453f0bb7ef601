"""Frames: everything that is stored of a run, as it was sent, page by page."""

from typing import Annotated, Any

import msgspec
import numpy as np
from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from foreshock.server.api.answer import Answer, StoredRunDep
from foreshock.server.api.series import Name
from foreshock.server.nonfinite import spell_array
from foreshock.server.store.frame_pages import MAX_VALUES, Block, Cursor, Wanted, page_as_values, read_page
from foreshock.server.store.windows import END_OF_STEPS, Span
from foreshock.wire import is_missing
from foreshock.wire.readings import Window

router = APIRouter(tags=["series"])

MSGPACK = "application/msgpack"


class FramesQuery(BaseModel):
    """Which frames are asked for, and where the last page ended."""

    model_config = ConfigDict(extra="forbid")

    column: list[Name] = Field([], max_length=1000, description="Default: all.", examples=[["loss"]])
    attempt: int | None = Field(None, ge=0, le=2**30, description="Default: the newest.")
    rank: int | None = Field(None, ge=0, le=2**20, description="Default: every rank, one after the other.")
    start: int = Field(0, ge=0, le=2**53, description="First step.")
    stop: int | None = Field(None, ge=0, le=2**53, description="Last step, inclusive; default: the newest.")
    cursor: str | None = Field(None, max_length=64, description="`next` of the page before.")
    limit: int = Field(1_000_000, ge=1, le=MAX_VALUES, description="Values after which a page ends.")


@router.get("/runs/{run_id}/frames", response_class=Answer)
def read_frames(
    run: StoredRunDep, query: Annotated[FramesQuery, Query()], accept: Annotated[str, Header()] = ""
) -> Response:
    """Steps, times and values as they were sent, by rank, stream and step; `next` leads to the next page.

    With `Accept: application/msgpack` arrays are bytes, little-endian (steps int64 [k], times float64 [k],
    values float32 [columns, k], the NaN 0x7FC0F05E where a column has no value); else lists, with `null`.
    """
    attempt = run.found_attempt(Window(attempt=query.attempt))
    stop = END_OF_STEPS if query.stop is None else query.stop + 1
    wanted = Wanted(attempt, frozenset(query.column), query.rank, Span(query.start, stop), query.limit)
    after = None if query.cursor is None else Cursor.parse(query.cursor)
    blocks, following = read_page(run.engine, run.run_id, wanted, after)
    if MSGPACK in accept:
        page = page_as_values(run.run_id, attempt, blocks, following)
        return Response(msgspec.msgpack.encode(page), media_type=MSGPACK, headers={"Vary": "Accept"})
    return Answer(
        {
            "run_id": run.run_id,
            "attempt": attempt,
            "blocks": [_as_lists(block) for block in blocks],
            "next": None if following is None else str(following),
        },
        headers={"Vary": "Accept, Accept-Encoding"},
    )


def _as_lists(block: Block) -> dict[str, Any]:
    return {
        "rank": block.rank,
        "layout_id": block.layout_id,
        "stream": block.stream,
        "columns": block.columns,
        "steps": block.steps,
        "times": block.times,
        "values": [_with_gaps(row) for row in block.values],
    }


def _with_gaps(row: np.ndarray[Any, np.dtype[np.float32]]) -> list[Any]:
    values = spell_array(row)
    for place in np.flatnonzero(is_missing(row)).tolist():
        values[place] = None
    return values
