"""Lists of runs, searched and filtered, and one run described whole."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from foreshock.dashboards.health import Evidence, judge_health
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.alert_facts import open_alert_facts
from foreshock.server.store.engine import reading
from foreshock.server.store.order import Order, Sort, ordered_ids
from foreshock.server.store.read import StoredRun
from foreshock.server.store.schema import IS_KEPT, PASSED_BY, alerts, cursors, runs
from foreshock.server.store.search import config_value, matches

MAX_WORDS: Final = 16


class RunQuery(BaseModel):
    """What a list of runs is asked for.

    Every word of `q` must be found: `key=value` in the configuration, `#tag` among the tags, any other word
    in the run's id, name, group, tags or configuration.
    """

    model_config = ConfigDict(extra="forbid")

    project: str | None = Field(None, max_length=200)
    q: str = Field("", max_length=500)
    state: Literal["running", "finished", "crashed", "lost"] | None = None
    group: str | None = Field(None, max_length=200)
    tag: str | None = Field(None, max_length=100)
    pinned: bool | None = None
    sort: Sort = Field("started", description="The column to sort by; runs without a value come last.")
    order: Order = "desc"
    limit: int = Field(50, ge=1, le=500)
    offset: int = Field(0, ge=0, le=2**31)


def list_runs(engine: sa.Engine, query: RunQuery) -> dict[str, Any]:
    """One page of runs in the order asked for, and how many there are in all."""
    words = query.q.split()[:MAX_WORDS]
    tags = [word[1:] for word in words if word[0] == "#" and word != "#"]
    others = [word for word in words if word[0] != "#" or word == "#"]
    pairs = [pair for word in others if "=" in word and (pair := word.split("=", 1))[0]]
    plain = [word for word in others if word.partition("=")[0] == word or word[0] == "="]
    where = _conditions(query, plain, [query.tag, *tags])
    with reading(engine) as connection:
        if pairs:
            where.append(runs.c.run_id.in_(_with_config(connection, where, pairs)))
        total = connection.execute(sa.select(sa.func.count()).select_from(runs).where(*where)).scalar_one()
        ids = ordered_ids(connection, where, query.sort, query.order, query.limit, query.offset)
        page = sa.select(runs).where(runs.c.run_id.in_(ids))
        rows = {row["run_id"]: row for row in connection.execute(page).mappings()}
        newest = _alert_news(connection, ids)
        standing = open_alert_facts(connection, ids)
    listed = [_summary(rows[run_id], newest) for run_id in ids]
    return {"runs": [_with_health(run, standing.get(run["run_id"], ())) for run in listed], "total": total}


def describe_run(run: StoredRun) -> dict[str, Any]:
    """The run's row, its writers' cursors, its attempts and its series."""
    with reading(run.engine) as connection:
        of_run = sa.select(cursors).where(cursors.c.run_id == run.run_id)
        rows = connection.execute(of_run.order_by(cursors.c.attempt, cursors.c.rank)).mappings().all()
        newest = _alert_news(connection, [run.run_id])
    return {
        **_summary(run.row, newest),
        "attempts": sorted({row["attempt"] for row in rows}),
        "cursors": [_without(row, "run_id", "session") for row in rows],
        "series": [{"series": series, "layers": layers} for series, layers in run.num_layers().items()],
    }


def _conditions(
    query: RunQuery, words: Sequence[str], tags: Sequence[str | None]
) -> list[sa.ColumnElement[bool]]:
    where: list[sa.ColumnElement[bool]] = [IS_KEPT]
    if query.project is not None:
        where.append(runs.c.project == query.project)
    if query.state is not None:
        where.append(runs.c.state == query.state)
    if query.group is not None:
        where.append(runs.c.group_name == query.group)
    if query.pinned is not None:
        where.append(runs.c.pinned.is_(query.pinned))
    for tag in (tag for tag in tags if tag is not None):
        # A tag stands in the stored JSON list exactly as it is encoded here, quotes and all.
        as_stored = encode_json(tag).decode()
        where.append(sa.cast(runs.c.tags, sa.Text).contains(as_stored, autoescape=True))
    searched = (
        runs.c.run_id,
        runs.c.name,
        sa.func.coalesce(runs.c.group_name, ""),
        sa.cast(runs.c.tags, sa.Text),
        sa.cast(runs.c.config, sa.Text),
    )
    for word in words:
        where.append(
            sa.or_(*(sa.func.lower(part).contains(word.lower(), autoescape=True) for part in searched))
        )
    return where


def _with_config(
    connection: sa.Connection, where: Sequence[sa.ColumnElement[bool]], pairs: Sequence[Sequence[str]]
) -> list[str]:
    """Runs whose configuration has every key=value; numbers compare as numbers, so 3e-3 finds 0.003."""
    rows = connection.execute(sa.select(runs.c.run_id, runs.c.config).where(*where))
    return [
        row.run_id
        for row in rows
        if all(matches(config_value(row.config, key), value) for key, value in pairs)
    ]


def _alert_news(connection: sa.Connection, run_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each run its newest alert and how many are in each state, those that passed by left out."""
    query = (
        sa.select(
            alerts.c.run_id,
            alerts.c.alert_id,
            alerts.c.rule,
            alerts.c.severity,
            alerts.c.state,
            alerts.c.subject,
            alerts.c.opened_step,
            alerts.c.fired_step,
            alerts.c.updated_at,
        )
        .where(alerts.c.run_id.in_(run_ids), ~PASSED_BY)
        .order_by(alerts.c.run_id, alerts.c.updated_at, alerts.c.alert_id)
    )
    news: dict[str, dict[str, Any]] = {}
    for row in connection.execute(query).mappings():
        of_run = news.setdefault(row["run_id"], {"last_alert": None, "num_alerts": {}})
        of_run["last_alert"] = _without(row, "run_id")
        of_run["num_alerts"][row["state"]] = of_run["num_alerts"].get(row["state"], 0) + 1
    return news


def _summary(row: sa.RowMapping, news: dict[str, dict[str, Any]]) -> dict[str, Any]:
    summary = _without(row, "group_name", "constraint_name", "deleted_at", "token_id")
    return {
        **summary,
        "group": row["group_name"],
        "constraint": row["constraint_name"],
        "page": f"/runs/{row['run_id']}",
        **news.get(row["run_id"], {"last_alert": None, "num_alerts": {}}),
    }


def _with_health(run: dict[str, Any], standing: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run with its health, as far as the judge's summary and the open alerts tell it."""
    health = judge_health(Evidence.of(run, standing)).told()
    return {**run, "health": {name: value for name, value in health.items() if name != "advice"}}


def _without(row: sa.RowMapping, *left_out: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in left_out}
