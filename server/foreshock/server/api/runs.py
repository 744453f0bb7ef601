"""Runs: declared by probes, listed and described for people."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.config import JsonDict

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, StoredRunDep, of_caller
from foreshock.server.names import check_run_id
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.listing import RunQuery, describe_run, list_runs
from foreshock.server.store.runs import declare
from foreshock.wire import RunDeclaration

router = APIRouter(tags=["runs"])

MAX_CONFIG_BYTES = 256 * 1024
MAX_CONFIG_DEPTH = 64
Text = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
Tag = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")]

_EXAMPLES: JsonDict = {
    "examples": [
        {
            "run_id": "hc-seed-0",
            "project": "demo",
            "name": "hc, seed 0",
            "group": "hc",
            "tags": ["fp16"],
            "seed": 0,
            "config": {"connection": "hc", "num_streams": 4, "learning_rate": 0.003},
            "total_steps": 400,
            "session": "0f8c1e",
        }
    ]
}
_HANDLE = {"run_id": "hc-seed-0", "attempt": 0, "next_sequence": 0, "page": "/runs/hc-seed-0"}


class Declaration(BaseModel):
    """What a probe says of a run; sent again after every reconnect."""

    model_config = ConfigDict(json_schema_extra=_EXAMPLES)

    run_id: str = Field(max_length=64, description="1 to 64 letters, digits, '.', '_' and '-'.")
    project: Text
    name: Text
    group: Text | None = None
    tags: list[Tag] = Field(default=[], max_length=50)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    config: dict[str, Any] = {}
    constraint: Literal["none", "doubly_stochastic"] | None = None
    total_steps: int | None = Field(None, ge=1, le=2**53)
    rank: int = Field(0, ge=0, le=2**20)
    attempt: int = Field(0, ge=0, le=2**30)
    session: str = Field("", max_length=64, pattern=r"^[^\x00]*$")
    started_at: float = Field(0.0, ge=0, le=1e11, allow_inf_nan=False)

    @field_validator("config")
    @classmethod
    def _config_is_small(cls, config: dict[str, Any]) -> dict[str, Any]:
        if _is_deeper(config, MAX_CONFIG_DEPTH):
            raise ValueError(f"a configuration nested more than {MAX_CONFIG_DEPTH} deep; flatten it")
        size = len(encode_json(config))
        if size > MAX_CONFIG_BYTES:
            raise ValueError(f"a configuration of {size} bytes; at most {MAX_CONFIG_BYTES} are allowed")
        return config


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested more than `most` deep; found level by level."""
    level = [value]
    for _ in range(most + 1):
        inner = [
            one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)
        ]
        level = [item for one in inner for item in one]
        if not inner:
            return False
    return True


@router.post(
    "/runs",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _HANDLE}}}},
)
def declare_run(declaration: Declaration, collector: CollectorDep, caller: CallerDep) -> Answer:
    """Creates or resumes a run and says from which sequence number its probe goes on. Idempotent."""
    check_run_id(declaration.run_id)
    caller.project_of(declaration.project)
    declared = declare(collector.engine, RunDeclaration(**declaration.model_dump()), caller)
    if declared.is_news:
        collector.ring("run", {"run_id": declaration.run_id, "state": "running"})
    if declaration.rank == 0:  # which describes the run: group, tags, configuration
        collector.judge.note_change(declaration.run_id)
    return Answer(declared.handle)


@router.get("/runs", response_class=Answer)
def read_runs(query: Annotated[RunQuery, Query()], collector: CollectorDep, caller: CallerDep) -> Answer:
    """Runs, newest first, with their last alert."""
    return Answer(list_runs(collector.engine, of_caller(query, caller)))


@router.get("/runs/{run_id}", response_class=Answer)
def read_run(run: StoredRunDep) -> Answer:
    """Everything that is known of one run, but its numbers."""
    return Answer(describe_run(run))
