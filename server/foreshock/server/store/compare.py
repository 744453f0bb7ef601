"""Groups of seeds on common steps, with their mean and a band around it.

The band is the Student-t 95 % interval of the mean from three seeds on, the range of the seeds below
that. Signals that are read on a log scale are averaged there (geometric mean, interval of the logs).
Every bucket width is a power of two at fixed edges, so one group's numbers do not depend on others'
steps within a bucket. A seed without a finite value at a step has no part in that step's mean.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import numpy as np
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field
from scipy.special import stdtrit

from foreshock.server.store.curves import Curve, Reals
from foreshock.server.store.engine import reading
from foreshock.server.store.grouping import group_keys
from foreshock.server.store.peaks import final_loss, log_peak_gain
from foreshock.server.store.read import StoredRun, common_width
from foreshock.server.store.schema import IS_KEPT, runs
from foreshock.server.store.windows import Windows
from foreshock.wire import parse_column
from foreshock.wire.readings import GroupSeries, IntArray, SeedSeries, Window

MAX_RUNS: Final = 200
CONFIDENCE: Final = 0.95
# Every run is then a group of its own
RUN: Final = "run"
MIN_SEEDS_FOR_INTERVAL: Final = 3

Reduce = Literal["max", "mean", "last"]


class CompareQuery(BaseModel):
    """Which runs are compared, how they are grouped, and on which column or per-layer series."""

    model_config = ConfigDict(extra="forbid")

    project: str | None = Field(default=None, max_length=200)
    group_by: str = Field(
        default="connection",
        min_length=1,
        max_length=200,
        description='A configuration key (dots reach into objects), or "group", "tag", "state", "run".',
    )
    run: list[Annotated[str, Field(max_length=64)]] = Field(
        default=[], max_length=50, description="Only these of the runs; by default the newest 200."
    )
    column: str = Field(default="composite_amax_forward_max", max_length=130)
    reduce: Reduce = Field(default="max", description="How the layers of a per-layer series become one.")
    buckets: int = Field(default=500, ge=1, le=5000)


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run of a group, with the two numbers that seeds are compared by."""

    run_id: str
    name: str
    seed: int | None
    state: str
    last_step: int
    final_loss: float | None
    log_peak_gain: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Groups with their runs.

    `num_ungrouped` runs lack the key, `num_left_out` are older than the newest 200.
    """

    bucket_width: int
    scale: Literal["linear", "log"]
    groups: list[tuple[GroupSeries, list[ComparedRun]]]
    num_ungrouped: int
    num_left_out: int


def compare(engine: sa.Engine, windows: Windows, query: CompareQuery) -> Comparison:
    """Groups the project's newest runs and lays their column on common steps."""
    rows, num_runs = _newest_runs(engine, query)
    groups, num_ungrouped = _group(rows, query.group_by)
    readers = {row["run_id"]: StoredRun(engine, windows, row["run_id"], row) for row in rows}
    members = {run_id for members in groups.values() for run_id in members}
    width = _common_width([readers[run_id] for run_id in sorted(members)], query)
    curves = {run_id: curve_of(readers[run_id], query, width) for run_id in sorted(members)}
    signal = parse_column(query.column).signal
    scale: Literal["linear", "log"] = "log" if signal is not None and signal.log_scale else "linear"
    compared = []
    for key in sorted(groups):
        of_group = [readers[run_id] for run_id in groups[key]]
        group = _join_seeds(key, of_group, curves, scale)
        compared.append((group, [_compared_run(reader) for reader in of_group]))
    return Comparison(width, scale, compared, num_ungrouped, num_runs - len(rows))


def _newest_runs(engine: sa.Engine, query: CompareQuery) -> tuple[Sequence[sa.RowMapping], int]:
    of_project = [IS_KEPT] if query.project is None else [IS_KEPT, runs.c.project == query.project]
    if query.run:
        of_project.append(runs.c.run_id.in_(query.run))
    with reading(engine) as connection:
        count = connection.execute(sa.select(sa.func.count()).select_from(runs).where(*of_project))
        newest = sa.select(runs).where(*of_project).order_by(runs.c.started_at.desc(), runs.c.run_id)
        return connection.execute(newest.limit(MAX_RUNS)).mappings().all(), count.scalar_one()


def _group(rows: Sequence[sa.RowMapping], group_by: str) -> tuple[dict[str, list[str]], int]:
    """Run ids by group key, by seed within a group; a run with several tags is in several groups."""
    groups: dict[str, list[str]] = defaultdict(list)
    num_ungrouped = 0
    for row in sorted(rows, key=lambda row: (row["seed"] is None, row["seed"] or 0, row["started_at"])):
        keys = [row["run_id"]] if group_by == RUN else group_keys(row, group_by)
        num_ungrouped += not keys
        for key in keys:
            groups[key].append(row["run_id"])
    return groups, num_ungrouped


def curve_of(reader: StoredRun, query: CompareQuery, width: int) -> Curve:
    """A column, or a per-layer series with its layers reduced, one value a cell of `width` steps.

    A layer that is NaN throughout a cell makes it NaN, not a gap.
    """
    _, tables = reader.cells(_columns_of(reader, query), Window(), width)
    edges = np.unique(np.concatenate([np.zeros(0, np.int64), *(table.cells.edge for table in tables)]))
    total = np.full(len(edges), -np.inf if query.reduce == "max" else 0.0)
    count = np.zeros(len(edges), np.int64)
    stands = _representative(query)
    with np.errstate(invalid="ignore", over="ignore"):
        for table in tables:
            at = np.searchsorted(edges, table.cells.edge)
            told = table.cells.count > 0
            values = getattr(table.cells, stands)
            count[at] += told.sum(axis=0)
            if query.reduce == "max":
                total[at] = np.maximum(total[at], np.where(told, values, -np.inf).max(axis=0))
            else:
                total[at] += np.where(told, values, 0.0).sum(axis=0)
        here = count > 0
        return Curve(query.column, edges[here], (total if query.reduce == "max" else total / count)[here])


def _common_width(readers: Sequence[StoredRun], query: CompareQuery) -> int:
    columns = {name for reader in readers for name in _columns_of(reader, query)}
    return common_width(readers, sorted(columns), Window(buckets=query.buckets))


def _columns_of(reader: StoredRun, query: CompareQuery) -> tuple[str, ...]:
    layers = reader.layer_columns(query.column, reader.attempt())
    return (query.column,) if not layers else layers[-1:] if query.reduce == "last" else layers


def _join_seeds(
    key: str,
    readers: Sequence[StoredRun],
    curves: dict[str, Curve],
    scale: Literal["linear", "log"],
) -> GroupSeries:
    of_group = [curves[reader.run_id] for reader in readers]
    edges = np.unique(np.concatenate([curve.steps for curve in of_group]))
    values = np.full((len(readers), len(edges)), np.nan)
    for row, curve in enumerate(of_group):
        values[row, np.searchsorted(edges, curve.steps)] = curve.values
    mean, low, high = band(values, scale)
    seeds = tuple(
        SeedSeries(reader.run_id, reader.row["name"], reader.row["seed"], seed_values)
        for reader, seed_values in zip(readers, values, strict=True)
    )
    return GroupSeries(key, edges, mean, low, high, seeds)


def _representative(query: CompareQuery) -> Literal["maximum", "minimum", "mean"]:
    """What stands for a bucket: the extreme where the signal is an extreme, the mean otherwise."""
    column = parse_column(query.column)
    if column.reduction == "min":
        return "minimum"
    is_extreme = column.reduction == "max" or (
        column.signal is not None
        and column.signal.per_layer
        and column.layer is None
        and query.reduce == "max"
    )
    return "maximum" if is_extreme else "mean"


def band(values: Reals, scale: Literal["linear", "log"]) -> tuple[Reals, Reals, Reals]:
    """Mean, low and high [k] of values [seeds, k] over the finite ones of each step."""
    with np.errstate(all="ignore"):
        shown = np.log(values) if scale == "log" else values
        finite = np.isfinite(shown)
        count = finite.sum(axis=0)
        mean = np.where(finite, shown, 0.0).sum(axis=0) / count
        spread = np.where(finite, (shown - mean) ** 2, 0.0).sum(axis=0)
        error = np.sqrt(spread / (count - 1) / count)
        reach = stdtrit(np.maximum(count - 1, 1), 0.5 + CONFIDENCE / 2) * error
        low = np.where(finite, shown, np.inf).min(axis=0, initial=np.inf)
        high = np.where(finite, shown, -np.inf).max(axis=0, initial=-np.inf)
        has_interval = count >= MIN_SEEDS_FOR_INTERVAL
        low, high = np.where(has_interval, mean - reach, low), np.where(has_interval, mean + reach, high)
        low, high = np.where(count > 0, low, np.nan), np.where(count > 0, high, np.nan)
        return (np.exp(mean), np.exp(low), np.exp(high)) if scale == "log" else (mean, low, high)


def _compared_run(reader: StoredRun) -> ComparedRun:
    row = reader.row
    return ComparedRun(
        row["run_id"],
        row["name"],
        row["seed"],
        row["state"],
        row["last_step"],
        final_loss(reader),
        log_peak_gain(reader),
    )


def groups_as_json(comparison: Comparison) -> list[dict[str, Any]]:
    """The groups as the API writes them."""
    return [_group_as_json(group, compared) for group, compared in comparison.groups]


def _group_as_json(group: GroupSeries, compared: list[ComparedRun]) -> dict[str, Any]:
    steps: IntArray = group.first_step
    return {
        "key": group.key,
        "runs": compared,
        "first_step": steps,
        "mean": group.mean,
        "low": group.low,
        "high": group.high,
        "seeds": [{"run_id": seed.run_id, "values": seed.values} for seed in group.seeds],
    }
