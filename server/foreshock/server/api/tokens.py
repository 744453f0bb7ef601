"""Tokens: made, listed, revoked by whoever has the scope admin."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep
from foreshock.server.store.tokens import NewToken, create_token, list_tokens, revoke_token

router = APIRouter(tags=["tokens"])

_NEVER_KEPT = {"Cache-Control": "no-store"}
_EXAMPLE: dict[str, Any] = {
    "token_id": "3f9c0a7b21de",
    "name": "cluster",
    "scopes": ["ingest"],
    "project": "demo",
    "state": "live",
    "created_at": 1766000000.0,
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
    "max_requests_per_second": None,
    "max_bytes_per_second": None,
    "max_runs": 100,
    "max_series": None,
}


@router.post(
    "/tokens",
    status_code=201,
    response_class=Answer,
    responses={201: {"content": {"application/json": {"example": {**_EXAMPLE, "token": "fsk_..."}}}}},
)
def make_token(new: NewToken, collector: CollectorDep, caller: CallerDep) -> Answer:
    """Makes a token and tells it, this once; a caller of one project makes tokens of that project only."""
    new = new.model_copy(update={"project": caller.project_of(new.project)})
    token, secret = create_token(collector.engine, new)
    collector.callers.forget()
    return Answer({**token.as_dict(), "token": secret}, 201, _NEVER_KEPT)


@router.get(
    "/tokens",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": {"tokens": [_EXAMPLE]}}}}},
)
def read_tokens(collector: CollectorDep, caller: CallerDep) -> Answer:
    """Every token, newest first, revoked and expired ones too; never the tokens themselves."""
    found = list_tokens(collector.engine, caller.project)
    return Answer({"tokens": [token.as_dict() for token in found]}, headers=_NEVER_KEPT)


@router.delete(
    "/tokens/{token_id}",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def end_token(
    token_id: Annotated[str, Path(max_length=64, examples=["3f9c0a7b21de"])],
    collector: CollectorDep,
    caller: CallerDep,
) -> Answer:
    """Revokes a token for good, within two seconds on every collector; once more changes nothing."""
    token = revoke_token(collector.engine, token_id, caller.project)
    collector.callers.forget()
    return Answer(token.as_dict(), headers=_NEVER_KEPT)
