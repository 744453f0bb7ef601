"""In which order a list of runs is told: by any of its columns, the same on SQLite and PostgreSQL."""

import math
from collections.abc import Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa

from foreshock.server.store.schema import PASSED_BY, alerts, runs

Sort = Literal[
    "started", "heard", "name", "project", "state", "seed", "step", "loss", "gain", "headroom", "alert"
]
Order = Literal["asc", "desc"]
# Whether it is NaN, and else what it is
Rank = tuple[bool, float]
_NOTHING: Final[Rank] = (False, -math.inf)

_COLUMNS: Final[dict[str, sa.ColumnElement[Any]]] = {
    "started": runs.c.started_at,
    "heard": runs.c.heartbeat_at,
    "name": sa.func.lower(runs.c.name),
    "project": sa.func.lower(runs.c.project),
    "state": runs.c.state,
    "seed": runs.c.seed,
    "step": sa.func.nullif(runs.c.last_step, -1),
}
# Of what the judge has noted, the worst; JSON holds NaN as a word, which no database sorts as a number
_NOTED: Final[dict[Sort, tuple[str, ...]]] = {
    "loss": ("loss",),
    "gain": ("composite_forward", "composite_backward"),
    "headroom": ("headroom_bits",),
}


def ordered_ids(
    connection: sa.Connection,
    where: Sequence[sa.ColumnElement[bool]],
    sort: Sort,
    order: Order,
    limit: int,
    offset: int,
) -> list[str]:
    """The ids of one page of the runs that `where` leaves, in order.

    Runs without a value come last in both orders, ties newest first. NaN is larger than any number.
    """
    if sort in _NOTED:
        return _by_noted(connection, where, _NOTED[sort], order)[offset : offset + limit]
    query = sa.select(runs.c.run_id).where(*where)
    if sort == "alert":
        news = _alert_ranks()
        query = query.outerjoin(news, news.c.run_id == runs.c.run_id)
        keys: list[sa.ColumnElement[Any]] = [news.c.gravity, news.c.changed_at]
    else:
        keys = [_COLUMNS[sort]]
    directed = [(key.desc() if order == "desc" else key.asc()).nulls_last() for key in keys]
    query = query.order_by(*directed, runs.c.started_at.desc(), runs.c.run_id)
    return list(connection.execute(query.limit(limit).offset(offset)).scalars())


def _alert_ranks() -> sa.Subquery:
    """Of each run the gravest that stands, 2 critical, 1 any other that fires, 0; and its newest change."""
    gravity = sa.case(
        (sa.and_(alerts.c.state == "firing", alerts.c.severity == "critical"), 2),
        (alerts.c.state == "firing", 1),
        else_=0,
    )
    newest = sa.func.max(alerts.c.updated_at)
    query = sa.select(alerts.c.run_id, sa.func.max(gravity).label("gravity"), newest.label("changed_at"))
    return query.where(~PASSED_BY).group_by(alerts.c.run_id).subquery()


def _by_noted(
    connection: sa.Connection,
    where: Sequence[sa.ColumnElement[bool]],
    names: Sequence[str],
    order: Order,
) -> list[str]:
    noted = [runs.c.summary[name].as_string() for name in names]
    query = sa.select(runs.c.run_id, *noted).where(*where)
    rows = connection.execute(query.order_by(runs.c.started_at.desc(), runs.c.run_id))
    worst = {run_id: _worst(values) for run_id, *values in rows}
    known = [run_id for run_id, value in worst.items() if value is not None]
    # Stable in both directions, so that ties stay newest first
    known.sort(key=lambda run_id: worst[run_id] or _NOTHING, reverse=order == "desc")
    return [*known, *(run_id for run_id, value in worst.items() if value is None)]


def _worst(values: Sequence[Any]) -> Rank | None:
    """The largest of the values, NaN being larger than any; None where there is none."""
    known = [float(value) for value in values if value is not None]
    return max(((True, 0.0) if math.isnan(value) else (False, value) for value in known), default=None)
