"""Gauges of what the judge says of live runs, and of how far it is behind them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import sqlalchemy as sa
from prometheus_client.core import GaugeMetricFamily, Metric

from foreshock.dashboards.health import Evidence, Level, judge_health
from foreshock.server.newest_gauges import LABELS, LiveRun
from foreshock.server.store.alert_facts import open_alert_facts
from foreshock.server.store.schema import alerts, detector_states

# Alerts over groups of runs belong to no run that could end, so they leave when they resolve
_IS_OPEN_GROUP: Final = alerts.c.run_id.like("group:%") & (alerts.c.state != "resolved")


# How grave a level of health is; what is safe, seen in part or not judged yet raises no alarm
_GRAVITY: Final[Mapping[Level, int]] = {
    "safe": 0,
    "partial": 0,
    "unknown": 0,
    "watch": 1,
    "risk": 2,
    "dead": 3,
}


@dataclass(frozen=True, slots=True)
class Tally:
    """How many alerts of one run are alike."""

    run_id: str
    project: str
    rule: str
    state: str
    severity: str
    count: int


Tallies = Mapping[str, Sequence[Tally]]


def judged_families(connection: sa.Connection, live: Sequence[LiveRun]) -> Iterator[Metric]:
    """Health, alerts, risks, steps to limits and the judge's lag; labels know rules, no layers."""
    found = _count_alerts(connection, [run.row["run_id"] for run in live])
    yield from _alert_families(live, found)
    yield _health_family(connection, live)
    yield from _forecast_families(live)
    yield _lag_family(connection, live)


def _count_alerts(connection: sa.Connection, run_ids: Sequence[str]) -> Tallies:
    """The alerts of these runs and those of groups that are open, by run id."""
    alike = (
        alerts.c.run_id,
        alerts.c.project,
        alerts.c.rule,
        alerts.c.state,
        alerts.c.severity,
    )
    query = (
        sa.select(*alike, sa.func.count())
        .where(alerts.c.run_id.in_(run_ids) | _IS_OPEN_GROUP)
        .group_by(*alike)
    )
    found: dict[str, list[Tally]] = {}
    for row in connection.execute(query):
        found.setdefault(row.run_id, []).append(Tally(*row))
    return found


def _alert_families(live: Sequence[LiveRun], found: Tallies) -> Iterator[Metric]:
    by_state = GaugeMetricFamily(
        "foreshock_alerts",
        "Alerts of live runs, and those of groups that are open.",
        labels=(*LABELS, "state", "severity"),
    )
    by_rule = GaugeMetricFamily(
        "foreshock_firing_alerts",
        "Alerts that fire now, by the rule that says so.",
        labels=(*LABELS, "rule", "severity"),
    )
    of_runs = {run.row["run_id"]: run.labels for run in live}
    for run_id, own in found.items():
        project = own[0].project
        labels = of_runs.get(run_id) or (run_id, run_id.removeprefix(f"group:{project}/"), project)
        for key, count in _summed(own, "state").items():
            by_state.add_metric((*labels, *key), count)
        for key, count in _summed([one for one in own if one.state == "firing"], "rule").items():
            by_rule.add_metric((*labels, *key), count)
    yield from (by_state, by_rule)


def _summed(tallies: Sequence[Tally], by: Literal["state", "rule"]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for one in tallies:
        counts[getattr(one, by), one.severity] += one.count
    return counts


def _health_family(connection: sa.Connection, live: Sequence[LiveRun]) -> Metric:
    family = GaugeMetricFamily(
        "foreshock_health",
        "0 no open alert, 1 watch, 2 at risk, 3 diverged; none before the first step.",
        labels=LABELS,
    )
    standing = open_alert_facts(connection, [run.row["run_id"] for run in live])
    for run in live:
        if run.row["last_step"] >= 0:
            evidence = Evidence.of(dict(run.row), standing.get(run.row["run_id"], ()))
            family.add_metric(run.labels, _GRAVITY[judge_health(evidence).level])
    return family


def _forecast_families(live: Sequence[LiveRun]) -> Iterator[Metric]:
    risk = GaugeMetricFamily(
        "foreshock_forecast_risk",
        "Probability of a spike or divergence within the horizon: steps, or a share of the run.",
        labels=(*LABELS, "horizon"),
    )
    steps = GaugeMetricFamily(
        "foreshock_steps_to_limit",
        "Steps until a signal passes its limit at its present pace, 0 where it has passed it.",
        labels=(*LABELS, "limit"),
    )
    for run in live:
        for horizon, value in run.row["summary"].get("risk", {}).items():
            risk.add_metric((*run.labels, horizon), value)
        for limit, value in run.row["summary"].get("steps_to_limit", {}).items():
            steps.add_metric((*run.labels, limit), value)
    yield from (risk, steps)


def _lag_family(connection: sa.Connection, live: Sequence[LiveRun]) -> Metric:
    family = GaugeMetricFamily("foreshock_judge_lag_steps", "Steps stored and not yet judged.", labels=LABELS)
    state = detector_states.c
    query = sa.select(state.run_id, state.attempt, state.judged_step)
    judged = {
        (row.run_id, row.attempt): row.judged_step
        for row in connection.execute(query.where(state.run_id.in_([run.row["run_id"] for run in live])))
    }
    for run in live:
        done = judged.get((run.row["run_id"], run.row["attempt"]), -1)
        family.add_metric(run.labels, max(0, run.row["last_step"] - done))
    return family
