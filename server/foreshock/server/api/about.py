"""What the collector is, what whoever asks may do, and the names that lists can be filtered by."""

import time
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep
from foreshock.server.caller import SCOPES
from foreshock.server.store.contents import alerting_rules, project_names

router = APIRouter(tags=["about"])

_EXAMPLE: dict[str, Any] = {
    "version": "0.1.0",
    "database": "sqlite",
    "time": 1766000000.0,
    "asks_for_tokens": True,
    "caller": {"token_id": "3f9c0a7b21de", "scopes": ["read"], "project": "demo"},
    "projects": ["demo"],
    "rules": ["exit_amax", "nonfinite"],
}


@router.get(
    "/about",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def read_about(collector: CollectorDep, caller: CallerDep) -> Answer:
    """The collector's version, database, clock; what the caller may do; projects, and rules with alerts."""
    return Answer(
        {
            "version": version("foreshock"),
            "database": collector.engine.dialect.name,
            "time": time.time(),
            "asks_for_tokens": collector.callers.is_locked,
            "caller": {
                "token_id": caller.token_id,
                "scopes": [scope for scope in SCOPES if caller.may(scope)],
                "project": caller.project,
            },
            "projects": project_names(collector.engine, caller.project),
            "rules": alerting_rules(collector.engine, caller.project),
        },
        headers={"Cache-Control": "no-store"},
    )
