"""The restart verdict over groups of runs."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.alerts.groups import DEFAULT_GROUP_BY, reach_verdict
from foreshock.server.api.answer import Answer, CallerDep, CollectorDep

router = APIRouter(tags=["verdict"])


class VerdictQuery(BaseModel):
    """Which runs are compared, and which groups of them."""

    model_config = ConfigDict(extra="forbid")

    project: str = Field(max_length=200, examples=["demo"])
    group_by: str = Field(
        DEFAULT_GROUP_BY, max_length=200, description="A key of the configuration, or `group` or `tag`."
    )
    constrained: str | None = Field(
        None, max_length=200, description="The constrained group; by default the one found to be so."
    )
    baseline: str | None = Field(None, max_length=200, description="The unconstrained group; by default hc.")


@router.get("/verdict", response_class=Answer)
def read_verdict(
    query: Annotated[VerdictQuery, Query()], collector: CollectorDep, caller: CallerDep
) -> Answer:
    """Whether training may go on under the constraint: the tests, the reasons, and what is missing."""
    caller.project_of(query.project)
    verdict = reach_verdict(
        collector.engine, query.project, query.group_by, query.constrained, query.baseline
    )
    return Answer(verdict)
