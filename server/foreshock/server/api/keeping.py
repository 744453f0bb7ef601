"""What is kept: runs deleted and pinned, and how much of a project is kept."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, StoredRunDep
from foreshock.server.store.retention import keep_project, list_projects, pin_run

router = APIRouter(tags=["keeping"])

ProjectName = Annotated[
    str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", examples=["demo"])
]


class Limits(BaseModel):
    """How long, and how much of, a project's runs are kept; null, or left out: without a limit."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"keep_days": 90, "keep_bytes": 10_000_000_000}]}
    )

    keep_days: float | None = Field(
        None, gt=0, le=1e5, allow_inf_nan=False, description="Days after a run was last heard of."
    )
    keep_bytes: int | None = Field(
        None, ge=0, le=2**62, description="Bytes of the project; its oldest ended runs go first."
    )


@router.delete("/runs/{run_id}", response_class=Answer)
def delete_run(run: StoredRunDep, collector: CollectorDep) -> Answer:
    """Deletes a run for good: nobody sees it from now on, its rows go soon, its id stays taken."""
    collector.keeper.delete(run.run_id)
    collector.ring("run", {"run_id": run.run_id, "state": "deleted"})
    return Answer({"run_id": run.run_id, "deleted": True})


@router.post("/runs/{run_id}/pin", response_class=Answer)
def pin(run: StoredRunDep, collector: CollectorDep) -> Answer:
    """Keeps a run whatever its project's limits say."""
    pin_run(collector.engine, run.run_id, True)
    return Answer({"run_id": run.run_id, "pinned": True})


@router.post("/runs/{run_id}/unpin", response_class=Answer)
def unpin(run: StoredRunDep, collector: CollectorDep) -> Answer:
    """Leaves a run to its project's limits again."""
    pin_run(collector.engine, run.run_id, False)
    return Answer({"run_id": run.run_id, "pinned": False})


@router.get("/projects", response_class=Answer)
def read_projects(collector: CollectorDep, caller: CallerDep) -> Answer:
    """Every project: its runs, bytes, points in chunks, and how much of it is kept."""
    projects = [one for one in list_projects(collector.engine) if caller.sees(one.project)]
    return Answer({"projects": projects})


@router.put("/projects/{project:path}", response_class=Answer)
def set_limits(project: ProjectName, limits: Limits, collector: CollectorDep, caller: CallerDep) -> Answer:
    """Sets a project's limits, in the place of those before; they are applied within minutes."""
    caller.project_of(project)
    keep_project(collector.engine, project, limits.keep_days, limits.keep_bytes)
    collector.keeper.wake()
    return Answer({"project": project, **limits.model_dump()})
