"""A run's health in words, judged once for pages, reports and terminals."""

from typing import Any

from fastapi import APIRouter

from foreshock.dashboards.health import Departure, Evidence, judge_health
from foreshock.server.api.answer import Answer, CollectorDep, StoredRunDep
from foreshock.server.figure_cache import Key
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.alert_facts import alert_facts
from foreshock.server.store.departures import read_departures
from foreshock.server.store.freshness import run_mark
from foreshock.server.store.listing import describe_run
from foreshock.server.store.read import StoredRun

router = APIRouter(tags=["runs"])


@router.get("/runs/{run_id}/health", response_class=Answer)
def read_health(run: StoredRunDep, collector: CollectorDep) -> Answer:
    """Whether the run is safe, which layer moves, since when, what fired and what to do, in words.

    `level` is safe, partial (seen in part), unknown (no data yet), watch, risk or dead.
    """
    seen = tuple(run.row[name] for name in ("state", "attempt", "last_step", "summary"))
    key: Key = (run.run_id, "health", repr(seen), run_mark(collector.engine, run.run_id))
    return Answer(collector.figures.get(key, lambda: encode_json(told_health(run))).body)


def told_health(run: StoredRun) -> dict[str, Any]:
    """A run's health as it is told."""
    newest, alerts = run.latest(), alert_facts(run.engine, run.run_id)
    # Of a run of which nothing else is wrong, what has moved a little is no news
    departures = _moved(run) if any(one["state"] == "firing" for one in alerts) else ()
    evidence = Evidence.of(describe_run(run), alerts, newest.values, departures)
    health = judge_health(evidence, run)
    return {"run_id": run.run_id, "state": run.row["state"], "step": newest.step, **health.told()}


def _moved(run: StoredRun) -> tuple[Departure, ...]:
    found = read_departures(run.engine, run.run_id).departures
    return tuple(Departure(one.series, one.layer, one.since_step) for one in found if one.layer is not None)
