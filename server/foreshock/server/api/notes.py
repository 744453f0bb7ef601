"""Notes that people write at a step of a run."""

from typing import Any

from fastapi import APIRouter

from foreshock.server.api.answer import Answer, CollectorDep, StoredRunDep
from foreshock.server.store.notes import NewNote, add_note, list_notes

router = APIRouter(tags=["notes"])

_EXAMPLE: dict[str, Any] = {
    "number": 1,
    "step": 120,
    "author": "mira",
    "text": "learning rate halved",
    "time": 1766000000.0,
}


@router.post(
    "/runs/{run_id}/notes",
    status_code=201,
    response_class=Answer,
    responses={201: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def write_note(run: StoredRunDep, new: NewNote, collector: CollectorDep) -> Answer:
    """Keeps a note at a step of the run; every open page shows it. At most 1,000 a run."""
    kept = add_note(collector.engine, run.run_id, new)
    collector.ring("run", {"run_id": run.run_id, "note": kept["number"]})
    return Answer(kept, 201)


@router.get(
    "/runs/{run_id}/notes",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": {"notes": [_EXAMPLE]}}}}},
)
def read_notes(run: StoredRunDep, collector: CollectorDep) -> Answer:
    """All notes of the run, by step."""
    return Answer({"run_id": run.run_id, "notes": list_notes(collector.engine, run.run_id)})
