"""Silences: made, listed, ended by whoever has the scope admin; whoever may read sees them."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep
from foreshock.server.store.silences import NewSilence, create_silence, expire_silence, list_silences

router = APIRouter(tags=["alerts"])

_EXAMPLE: dict[str, Any] = {
    "silence_id": "5b1e0c9a7f42",
    "state": "active",
    "project": None,
    "matchers": [{"name": "rule", "operator": "=", "value": "loss_spike"}],
    "author": "mira",
    "comment": "known data bug, until the new shard is in",
    "starts_at": 1766000000.0,
    "ends_at": 1766007200.0,
    "created_at": 1766000000.0,
    "expired_at": None,
}


@router.post(
    "/silences",
    status_code=201,
    response_class=Answer,
    responses={201: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def make_silence(new: NewSilence, collector: CollectorDep, caller: CallerDep) -> Answer:
    """Silences what all matchers fit, for a time: it is stored and shown, and nobody is told."""
    new = new.model_copy(update={"project": caller.project_of(new.project)})
    return Answer(create_silence(collector.engine, new).as_dict(time.time()), 201)


@router.get(
    "/silences",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": {"silences": [_EXAMPLE]}}}}},
)
def read_silences(collector: CollectorDep, caller: CallerDep) -> Answer:
    """Silences that live or ended within 30 days, newest first."""
    found = list_silences(collector.engine, caller.project)
    now = time.time()
    return Answer({"silences": [one.as_dict(now) for one in found]})


@router.delete(
    "/silences/{silence_id}",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def end_silence(
    silence_id: Annotated[str, Path(max_length=64, examples=["5b1e0c9a7f42"])],
    collector: CollectorDep,
    caller: CallerDep,
) -> Answer:
    """Ends a silence before its time: what still fires is told now; once more changes nothing."""
    return Answer(expire_silence(collector.engine, silence_id, caller.project).as_dict(time.time()))
