"""The restart alert: a verdict over groups of runs, kept and told like an alert of a single run.

It is `pending` while evidence for a restart is in and none speaks against it, `firing` when every
condition is met, and resolves when that is no longer so. Its run is `group:<project>/<constrained>`,
its steps are numbers of runs compared. It is judged anew when a run of its project has ended.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from foreshock.server.alerts.life import Transition
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.verdict import STRESS_TAG, RestartVerdict, RunFacts, judge_groups
from foreshock.server.store.alerts import open_alerts, write_transitions
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import IS_KEPT, runs
from foreshock.wire import Alert
from foreshock.wire.messages import AlertState

RULE: Final = "restart"
SUBJECT: Final = "group"
DEFAULT_GROUP_BY: Final = "connection"
BASELINES: Final = ("hc", "none", "unconstrained")
ADVICE: Final = (
    "The documents' conditions for a restart are judged here: when this fires, training may go on under "
    "the constraint; while it is pending, see what is still missing."
)


def projects_with_ended_runs(connection: sa.Connection) -> set[str]:
    """Projects in which there is something to compare."""
    ended = runs.c.state.in_(("finished", "crashed", "lost"))
    return set(connection.execute(sa.select(runs.c.project).where(ended, IS_KEPT).distinct()).scalars())


def reach_verdict(
    engine: sa.Engine,
    project: str,
    group_by: str = DEFAULT_GROUP_BY,
    constrained: str | None = None,
    baseline: str | None = None,
) -> RestartVerdict:
    """The verdict over a project's runs, grouped by a key of their configuration, `group` or `tag`."""
    of_project = sa.select(runs).where(runs.c.project == project, IS_KEPT)
    query = of_project.order_by(runs.c.started_at, runs.c.run_id)
    with reading(engine) as connection:
        rows = connection.execute(query).mappings().all()
    facts = [one for row in rows for one in _facts(row, group_by)]
    ours = constrained or _find_constrained(rows, group_by)
    theirs = baseline or next((key for key in BASELINES if any(one.key == key for one in facts)), None)
    return judge_groups(facts, ours, theirs)


def judge_project(engine: sa.Engine, project: str, now: float, notifiers: Sequence[str]) -> list[Alert]:
    """Brings a project's restart alert up to date; what changed."""
    verdict = reach_verdict(engine, project)
    if verdict.constrained is None or verdict.baseline is None:
        return []
    run_id = f"group:{project}/{verdict.constrained}"
    with writing(engine) as connection:
        _lock(connection, project)
        transition = _transition(connection, run_id, verdict, now)
        if transition is None:
            return []
        return write_transitions(connection, run_id, project, 0, [transition], notifiers)


def _lock(connection: sa.Connection, project: str) -> None:
    """Two judges on one PostgreSQL take turns; a SQLite transaction is alone already."""
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtext(f"restart:{project}")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))


def _transition(
    connection: sa.Connection, run_id: str, verdict: RestartVerdict, now: float
) -> Transition | None:
    wanted: AlertState = "resolved"
    if verdict.state == "restart":
        wanted = "firing"
    elif verdict.is_under_way:
        wanted = "pending"
    current = open_alerts(connection, run_id)
    if (current[0]["state"] if current else "resolved") == wanted:
        return None
    step = sum(group.num_runs for group in verdict.groups)
    # What has fired and is only pending again has ended; it opens anew when the rest is there
    if current and current[0]["state"] == "firing":
        wanted = "resolved"
    opened = int(current[0]["opened_step"]) if current else step
    test = verdict.tests.get("log_peak_gain")
    return Transition(
        RULE,
        SUBJECT,
        "rule",
        "info",
        wanted,
        opened,
        step,
        now,
        test.p_value if test else None,
        _reason(verdict),
        ADVICE,
    )


def _reason(verdict: RestartVerdict) -> str:
    heads = {
        "restart": f"Restart: every condition is met by {verdict.constrained} against {verdict.baseline}.",
        "wait": "No restart: a condition is not met.",
        "undecided": "Undecided: nothing speaks against a restart, but something is missing.",
    }
    missing = (f"Missing: {' '.join(verdict.missing)}",) if verdict.missing else ()
    return " ".join((heads[verdict.state], *verdict.reasons, *missing, *verdict.notes))


def _find_constrained(rows: Sequence[sa.RowMapping], group_by: str) -> str | None:
    """The group whose runs are declared, or found by their configuration, to be constrained."""
    for row in rows:
        context = RunContext(None, row["constraint_name"], row["config"])
        if context.is_constrained and (keys := _keys(row, group_by)):
            return keys[0]
    return None


def _keys(row: sa.RowMapping, group_by: str) -> list[str]:
    if group_by == "tag":
        return [str(tag) for tag in row["tags"]]
    if group_by == "group":
        return [row["group_name"]] if row["group_name"] else []
    value = row["config"].get(group_by)
    return [] if value is None or isinstance(value, dict | list) else [str(value)]


def _facts(row: sa.RowMapping, group_by: str) -> list[RunFacts]:
    summary: Mapping[str, Any] = row["summary"]
    is_stress = STRESS_TAG in row["tags"]
    keys = _keys(row, group_by) or ([STRESS_TAG] if is_stress else [])
    return [
        RunFacts(
            run_id=row["run_id"],
            name=row["name"],
            key=key,
            seed=row["seed"],
            state=row["state"],
            total_steps=row["total_steps"],
            log_peak_gain=_number(summary.get("peak_composite_log")),
            final_loss=_number(summary.get("final_loss")),
            died=summary.get("died_step") is not None,
            has_layers=bool(summary.get("has_layers")),
            is_stress=is_stress,
            first_critical_step=summary.get("first_critical_step"),
            last_step=row["last_step"] if row["last_step"] >= 0 else None,
        )
        for key in (keys[:1] if is_stress else keys)
    ]


def _number(value: float | str | None) -> float | None:
    """A number of a summary, whose JSON spells the non-finite ones; those count as none."""
    if value is None or not math.isfinite(float(value)):
        return None
    return float(value)
