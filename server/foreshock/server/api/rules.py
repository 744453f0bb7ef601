"""The rules that judge, and what is wrong with the file that they are from."""

from typing import Any

from fastapi import APIRouter

from foreshock.server.api.answer import Answer, CollectorDep

router = APIRouter(tags=["rules"])

_EXAMPLE: dict[str, Any] = {
    "file": "/etc/foreshock/rules.yaml",
    "digest": "222e705b30dc243a",
    "taken_at": 1766000000.0,
    "valid": False,
    "problems": [{"line": 12, "column": 5, "problem": "there is no signal 'grad_nrm'"}],
    "rules": ["nonfinite", "exit_amax", "router_collapse"],
    "disabled": ["loss_spike"],
}


@router.get(
    "/rules",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def read_rules(collector: CollectorDep) -> Answer:
    """The rules that judge and since when; the problems of a file that is not valid."""
    return Answer(collector.rules.status())
