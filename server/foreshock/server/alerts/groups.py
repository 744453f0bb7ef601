"""The restart alert: a verdict over groups of runs, kept and told like an alert of a single run.

It is `pending` while evidence for a restart is in and none speaks against it, `firing` when every
condition is met, and resolves when one fails by more than a hair, or the evidence is gone. A run that
starts, or a test that slips from p = 0.04 to 0.06, changes nothing: what was significant is let go at
0.1, what was under the limit of Amax at 5 % over it.

Each constrained group has its own; its run is `group:<project>/<key>`, its steps are numbers of runs
compared. A project is judged anew when one of its runs has ended, was lost, declared or deleted.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlencode

import sqlalchemy as sa

from foreshock.server.alerts.evidence import Evidence, gather
from foreshock.server.alerts.life import Transition
from foreshock.server.detection import caveats
from foreshock.server.detection.pair import Place
from foreshock.server.detection.run_facts import RunFacts
from foreshock.server.detection.verdict import RestartVerdict, judge_groups
from foreshock.server.errors import InvalidError, UnknownProjectError
from foreshock.server.store.alerts import open_alerts, write_transitions
from foreshock.server.store.engine import writing
from foreshock.server.store.schema import IS_KEPT, alerts, runs
from foreshock.wire import Alert
from foreshock.wire.messages import AlertState

RULE: Final = "restart"
SUBJECT: Final = "group"
PREFIX: Final = "group:"
# What the table holds; a group whose key is longer is judged when asked for, and has no alert
MAX_RUN_ID: Final = 500
ADVICE: Final = (
    "The documents' conditions for a restart are judged here: when this fires, training may go on under "
    "the constraint; while it is pending, see what is still missing."
)


def projects_with_ended_runs(connection: sa.Connection) -> set[str]:
    """Projects in which there is something to compare, or an alert that was."""
    ended = runs.c.state.in_(("finished", "crashed", "lost"))
    is_open = (alerts.c.rule == RULE, alerts.c.state != "resolved")
    queries = (
        sa.select(runs.c.project).where(ended, IS_KEPT).distinct(),
        sa.select(alerts.c.project).where(*is_open).distinct(),
    )
    return {project for query in queries for project in connection.execute(query).scalars()}


def projects_of(connection: sa.Connection, run_ids: Sequence[str]) -> set[str]:
    """The projects of runs, deleted ones too."""
    query = sa.select(runs.c.project).where(runs.c.run_id.in_(run_ids)).distinct()
    return set(connection.execute(query).scalars())


def page_of(run_id: str, project: str) -> str:
    """Where people see the verdict that a group's alert is about."""
    constrained = run_id.removeprefix(f"{PREFIX}{project}/")
    return f"/verdict?{urlencode({'project': project, 'constrained': constrained})}"


def reach_verdicts(
    evidence: Evidence, group_by: str, constrained: str | None = None, baseline: str | None = None
) -> list[RestartVerdict]:
    """A verdict for each constrained group, or the one asked for, against the baseline; at least one.

    The most hopeful comes first. Raises InvalidError for one group in both places.
    """
    if constrained is not None and constrained == baseline:
        raise InvalidError(f"constrained and baseline are both {baseline!r}: name two groups")
    found = [key for key in evidence.constrained_keys(group_by) if key != baseline]
    wanted = [constrained] if constrained is not None else found
    theirs = baseline or evidence.baseline_key(group_by, [*found, *wanted])
    facts, candidates = evidence.facts(group_by), wanted or (None,)
    reached = [_reach(evidence, facts, group_by, key, theirs, wanted) for key in candidates]
    order = ("restart", "undecided", "wait")
    return sorted(reached, key=lambda one: order.index(one.state))


def _reach(
    evidence: Evidence,
    facts: Sequence[RunFacts],
    group_by: str,
    ours: str | None,
    theirs: str | None,
    candidates: Sequence[str],
) -> RestartVerdict:
    notes = caveats.of_candidates(candidates)
    if ours is not None and theirs is not None:
        settings = evidence.settings(group_by, (ours, theirs))
        notes += caveats.of_settings(settings, group_by)
    return judge_groups(facts, ours, theirs, notes, Place(evidence.project, group_by))


def judge_project(engine: sa.Engine, project: str, now: float, notifiers: Sequence[str]) -> list[Alert]:
    """Brings a project's restart alerts up to date; what changed."""
    told: list[Alert] = []
    with _turn(engine, project):
        verdicts = _verdicts(engine, project)
        with writing(engine) as connection:
            for run_id in sorted(verdicts.keys() | _open_groups(connection, project)):
                verdict = verdicts.get(run_id)
                transition = _transition(connection, run_id, verdict, now)
                if transition is not None:
                    told += write_transitions(connection, run_id, project, 0, [transition], notifiers)
                elif verdict is not None:
                    _renew(connection, run_id, verdict)
    return told


@contextmanager
def _turn(engine: sa.Engine, project: str) -> Iterator[None]:
    """Judges on one PostgreSQL take turns at a project, so that the later has seen the more.

    Nothing else waits meanwhile. A SQLite file has one judge.
    """
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.begin() as connection:
        key = sa.func.hashtext(f"restart:{project}")
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        yield


def _verdicts(engine: sa.Engine, project: str) -> dict[str, RestartVerdict]:
    """Verdicts by the run of their alert; none where nothing can be compared."""
    try:
        evidence = gather(engine, project)
    except UnknownProjectError:
        return {}
    reached = reach_verdicts(evidence, evidence.grouping())
    named = {
        f"{PREFIX}{project}/{one.constrained}": one
        for one in reached
        if one.constrained is not None and one.baseline is not None
    }
    return {run_id: one for run_id, one in named.items() if len(run_id) <= MAX_RUN_ID}


def _open_groups(connection: sa.Connection, project: str) -> set[str]:
    is_open = (alerts.c.project == project, alerts.c.rule == RULE, alerts.c.state != "resolved")
    return set(connection.execute(sa.select(alerts.c.run_id).where(*is_open)).scalars())


def _transition(
    connection: sa.Connection, run_id: str, verdict: RestartVerdict | None, now: float
) -> Transition | None:
    current = next((one for one in open_alerts(connection, run_id) if one["rule"] == RULE), None)
    state = _next_state(None if current is None else current["state"], verdict)
    if state is None:
        return None
    step = 0 if verdict is None else sum(group.num_runs for group in verdict.groups)
    test = None if verdict is None else verdict.tests.get("log_peak_gain")
    return Transition(
        RULE,
        SUBJECT,
        "rule",
        "info",
        state,
        _opening(connection, run_id, step) if current is None else int(current["opened_step"]),
        step,
        now,
        None if test is None else test.p_value,
        "The groups that were compared are gone: no restart." if verdict is None else _reason(verdict),
        ADVICE,
    )


def _next_state(current: AlertState | None, verdict: RestartVerdict | None) -> AlertState | None:
    """The state that the alert turns to, None where it stays."""
    wanted: AlertState | None
    if verdict is not None and verdict.state == "restart":
        wanted = "firing"
    elif verdict is None or verdict.is_over:
        wanted = None if current is None else "resolved"
    else:
        wanted = "pending" if current is None and verdict.is_under_way else current
    return None if wanted == current else wanted


def _opening(connection: sa.Connection, run_id: str, step: int) -> int:
    """A step at which no alert of the group has opened: one that comes back is another, unseen by anybody."""
    last = connection.execute(
        sa.select(sa.func.max(alerts.c.opened_step)).where(alerts.c.run_id == run_id, alerts.c.rule == RULE)
    ).scalar_one()
    return step if last is None else max(step, int(last) + 1)


def _renew(connection: sa.Connection, run_id: str, verdict: RestartVerdict) -> None:
    """What is still missing changes while an alert stands; nobody is told, whoever looks sees it."""
    is_open = (alerts.c.run_id == run_id, alerts.c.rule == RULE, alerts.c.state != "resolved")
    reason = _reason(verdict)
    stale = sa.update(alerts).where(*is_open, alerts.c.reason != reason)
    connection.execute(stale.values(reason=reason))


def _reason(verdict: RestartVerdict) -> str:
    """The verdict for whoever is told of it; what to do, and what to bear in mind, is on its page."""
    parts = [verdict.sentence]
    for state, head in (("failed", "Not met:"), ("missing", "Missing:"), ("met", "Met:")):
        words = [one.words for one in verdict.requirements if one.state == state]
        if state == "met" and verdict.state != "restart":
            words = [f"{len(words)} of {len(verdict.requirements)} conditions."]
        parts += [head, *words] if words else []
    if verdict.notes:
        parts.append(f"To bear in mind: {len(verdict.notes)} on the page.")
    return " ".join(parts)
