"""The restart verdict over groups of runs."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.alerts.evidence import gather
from foreshock.server.alerts.groups import reach_verdicts
from foreshock.server.api.answer import Answer, CallerDep, CollectorDep

router = APIRouter(tags=["verdict"])

_AMAX = "Amax of the constrained group peaked at 1.06 (mhc, seed 0), allowed 1.6."
_PEAK = (
    "The variance of log peak gain is lower: 396 times less (95 % interval of the ratio 9.28 to 2.13e+04; "
    "one-sided F test on logarithms, p = 0.0025, 3 against 3 runs, weak evidence from so few runs)."
)
_LOSS = "Variance of final loss: 3 constrained and 2 baseline runs have one, at least 3 of each are needed."
_WHAT_TO_DO = (
    "Run 1 more seed of hc: the command of hc, seed 0 with another seed (foreshock train ... --seed 3 "
    "--project demo)."
)
_RUN: dict[str, Any] = {
    "run_id": "mhc-seed-0",
    "name": "mhc, seed 0",
    "key": "mhc",
    "seed": 0,
    "state": "finished",
    "total_steps": 150,
    "last_step": 149,
    "log_peak_gain": 0.0583,
    "final_loss": 2.681,
    "died": False,
    "has_layers": True,
    "is_stress": False,
    "warnings": [],
    "fault_step": None,
    "onset_step": None,
}
_EXAMPLE: dict[str, Any] = {
    "project": "demo",
    "group_by": "connection",
    "state": "undecided",
    "sentence": "Undecided: nothing speaks against a restart of mhc, but something is missing.",
    "constrained": "mhc",
    "baseline": "hc",
    "candidates": [{"constrained": "mhc", "state": "undecided"}],
    "requirements": [
        {
            "name": "amax",
            "title": "Amax of mhc is back near 1",
            "state": "met",
            "words": _AMAX,
            "todo": "",
            "is_marginal": False,
        },
        {
            "name": "final_loss",
            "title": "Seeds agree on the final loss",
            "state": "missing",
            "words": _LOSS,
            "todo": _WHAT_TO_DO,
            "is_marginal": False,
        },
    ],
    "reasons": [_AMAX, _PEAK],
    "missing": [f"{_LOSS} {_WHAT_TO_DO}"],
    "notes": [],
    "tests": {
        "log_peak_gain": {
            "quantity": "log_peak_gain",
            "test": "one-sided F test on logarithms",
            "p_value": 0.0025,
            "effect": 396.0,
            "interval": [9.28, 21300.0],
            "is_weak": True,
            "is_significant": True,
            "num_constrained": 3,
            "num_baseline": 3,
            "variance_constrained": 4.3e-5,
            "variance_baseline": 0.0169,
        }
    },
    "stress_tests": [
        {
            "run_id": "hc-stressed",
            "name": "hc stressed",
            "key": "hc",
            "seed": 0,
            "total_steps": 200,
            "warning_step": 15,
            "warning_rule": "canary_spread",
            "fault_step": None,
            "onset_step": 88,
            "first_tenth": True,
            "after_fault": None,
            "before_onset": False,
            "decided_by": "first_tenth",
            "outcome": "passed",
            "words": "hc stressed was warned of at step 15 of 200 (canary_spread); its loss went at step 88.",
        }
    ],
    "groups": [
        {
            "key": "mhc",
            "role": "constrained",
            "num_runs": 3,
            "num_seeds": 3,
            "num_running": 0,
            "num_died": 0,
            "peak_gain": 1.06,
            "runs": [_RUN],
        }
    ],
}


class VerdictQuery(BaseModel):
    """Which runs are compared, and which groups of them."""

    model_config = ConfigDict(extra="forbid")

    project: str = Field(max_length=200, examples=["demo"])
    group_by: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="A key of the configuration (dots reach into objects), or `group` or `tag`; by default "
        "`connection`, `model.connection` or `group`, the first that any run has.",
    )
    constrained: str | None = Field(
        None, max_length=200, description="The constrained group; by default each that is found to be so."
    )
    baseline: str | None = Field(
        None, max_length=200, description="The unconstrained group; by default hc, or the only other one."
    )


@router.get(
    "/verdict",
    response_class=Answer,
    responses={200: {"content": {"application/json": {"example": _EXAMPLE}}}},
)
def read_verdict(
    query: Annotated[VerdictQuery, Query()], collector: CollectorDep, caller: CallerDep
) -> Answer:
    """Whether training may go on under the constraint: each condition, its numbers, and what is missing.

    Of several constrained groups the most hopeful is told in full; `candidates` has them all, and
    `constrained` asks for another.
    """
    caller.project_of(query.project)
    evidence = gather(collector.engine, query.project)
    if query.group_by is not None:
        evidence.check(query.group_by)
    group_by = query.group_by or evidence.grouping()
    reached = reach_verdicts(evidence, group_by, query.constrained, query.baseline)
    first = reached[0]
    candidates = [{"constrained": one.constrained, "state": one.state} for one in reached]
    return Answer(
        {
            "project": query.project,
            "group_by": group_by,
            "state": first.state,
            "sentence": first.sentence,
            "constrained": first.constrained,
            "baseline": first.baseline,
            "candidates": candidates,
            "requirements": first.requirements,
            "reasons": first.reasons,
            "missing": first.missing,
            "notes": first.notes,
            "tests": first.tests,
            "stress_tests": first.stress_tests,
            "groups": first.groups,
        }
    )
