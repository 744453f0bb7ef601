"""Alerts: listed, read with their history, acknowledged."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, StoredRunDep, of_caller
from foreshock.server.store.acknowledgements import acknowledge
from foreshock.server.store.alerts import MAX_AUTHOR, MAX_NOTE, AlertQuery, list_alerts, read_alert

router = APIRouter(tags=["alerts"])

AlertId = Annotated[int, Path(ge=1, le=2**31 - 1, description="The alert's number within its run.")]
AlertRun = Annotated[
    str,
    Path(max_length=500, description="The run's id, or group:<project>/<key>.", examples=["hc-seed-0"]),
]


class RunAlertQuery(BaseModel):
    """What the alerts of one run are asked for."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(200, ge=1, le=500)
    offset: int = Field(0, ge=0, le=2**31)


class Acknowledgement(BaseModel):
    """Who has seen an alert, and what they say."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"author": "mira", "note": "rate lowered"}]}
    )

    author: str = Field(
        min_length=1, max_length=MAX_AUTHOR, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"
    )
    note: str = Field("", max_length=MAX_NOTE, pattern=r"^[^\x00]*$")


@router.get("/alerts", response_class=Answer)
def read_alerts(query: Annotated[AlertQuery, Query()], collector: CollectorDep, caller: CallerDep) -> Answer:
    """Alerts of all runs and groups, those that changed last first."""
    return Answer(list_alerts(collector.engine, of_caller(query, caller)))


@router.get("/runs/{run_id}/alerts", response_class=Answer)
def read_run_alerts(
    run: StoredRunDep, query: Annotated[RunAlertQuery, Query()], collector: CollectorDep
) -> Answer:
    """Alerts of one run, those that changed last first."""
    of_run = AlertQuery(run=run.run_id, limit=query.limit, offset=query.offset)
    return Answer(list_alerts(collector.engine, of_run))


@router.post("/alerts/{run_id:path}/{alert_id}/acknowledge", response_class=Answer)
def acknowledge_alert(
    run_id: AlertRun,
    alert_id: AlertId,
    acknowledgement: Acknowledgement,
    collector: CollectorDep,
    caller: CallerDep,
) -> Answer:
    """Notes that somebody has seen the alert: it is told again only if it gets worse. The last one counts."""
    seen = acknowledge(
        collector.engine,
        run_id,
        alert_id,
        acknowledgement.author.strip(),
        acknowledgement.note,
        caller.project,
    )
    return Answer(seen)


@router.get("/alerts/{run_id:path}/{alert_id}", response_class=Answer)
def read_one_alert(run_id: AlertRun, alert_id: AlertId, collector: CollectorDep, caller: CallerDep) -> Answer:
    """One alert with every transition it has made, and everybody who has seen it."""
    return Answer(read_alert(collector.engine, run_id, alert_id, caller.project))
