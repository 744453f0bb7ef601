"""Gauges of live runs, read from the database when Prometheus asks.

Labels stay bounded: at most `max_live_runs` runs, no layer labels, and a run leaves when it finishes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as PulledCollector
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import ServerError
from foreshock.server.store.engine import reading
from foreshock.server.store.read import StoredRun
from foreshock.server.store.schema import IS_KEPT, alerts, runs
from foreshock.server.store.windows import Windows

LABELS: Final = ("run_id", "run", "project")
LIVE_STATES: Final = ("running", "lost")
PERCENTILES: Final = (50, 90, 99)

_PLAIN: Final = {
    "loss": "Training loss of the newest step.",
    "grad_norm": "Gradient norm before clipping.",
    "canary_gain": "Gain of layer 0, the worse direction.",
    "headroom_bits": "Doublings left before the residual stream passes its dtype's range.",
}
# Alerts over groups of runs belong to no run that could end, so they leave when they resolve
_OPEN_GROUPS: Final = sa.select(alerts.c.run_id, alerts.c.project, alerts.c.state, alerts.c.severity).where(
    alerts.c.run_id.like("group:%"), alerts.c.state != "resolved"
)
# Prometheus knows bytes and no bits, and a doubling is what is meant.
_NAMES: Final = {"headroom_bits": "foreshock_headroom_doublings"}


@dataclass(frozen=True, slots=True)
class Gains:
    """One direction's gains of a run: across layers, and the worst composite."""

    layers: Sequence[float]
    composite: float | None


class LiveRuns(PulledCollector):
    """Yields the gauges of live runs at each scrape."""

    def __init__(
        self, engine: sa.Engine, windows: Windows, max_runs: int, registry: CollectorRegistry
    ) -> None:
        self._engine = engine
        self._windows = windows
        self._max_runs = max_runs
        registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing: what exists is known at the scrape only."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families; where the database does not answer, only that it does not."""
        up = GaugeMetricFamily("foreshock_database_up", "1 where the database answers.")
        try:
            families = list(self._families())
        except (SQLAlchemyError, ServerError):
            families = []
        up.add_metric((), 1.0 if families else 0.0)
        yield up
        yield from families

    def _families(self) -> Iterator[Metric]:
        rows, total = self._live_rows()
        yield GaugeMetricFamily("foreshock_live_runs", "Runs that are running or lost.", value=total)
        yield GaugeMetricFamily(
            "foreshock_live_runs_truncated", "Live runs left out of this page.", value=total - len(rows)
        )
        latest = [
            (_labels(row), row, StoredRun(self._engine, self._windows, row["run_id"], row).latest().values)
            for row in rows
        ]
        yield from _run_families(latest)
        yield from _gain_families(latest)
        yield self._alert_family(rows)

    def _live_rows(self) -> tuple[Sequence[sa.RowMapping], int]:
        is_live = runs.c.state.in_(LIVE_STATES) & IS_KEPT
        newest = sa.select(runs).where(is_live).order_by(runs.c.started_at.desc(), runs.c.run_id)
        with reading(self._engine) as connection:
            count = connection.execute(sa.select(sa.func.count()).select_from(runs).where(is_live))
            return connection.execute(newest.limit(self._max_runs)).mappings().all(), count.scalar_one()

    def _alert_family(self, rows: Sequence[sa.RowMapping]) -> Metric:
        family = GaugeMetricFamily(
            "foreshock_alerts",
            "Alerts of live runs, and those of groups that are open.",
            labels=(*LABELS, "state", "severity"),
        )
        labels = {row["run_id"]: _labels(row) for row in rows}
        query = (
            sa.select(alerts.c.run_id, alerts.c.state, alerts.c.severity, sa.func.count())
            .where(alerts.c.run_id.in_(labels))
            .group_by(alerts.c.run_id, alerts.c.state, alerts.c.severity)
        )
        with reading(self._engine) as connection:
            for run_id, state, severity, count in connection.execute(query):
                family.add_metric((*labels[run_id], state, severity), count)
            for row in connection.execute(_OPEN_GROUPS):
                name = row.run_id.removeprefix(f"group:{row.project}/")
                family.add_metric((row.run_id, name, row.project, row.state, row.severity), 1)
        return family


LatestOfRun = tuple[tuple[str, ...], sa.RowMapping, dict[str, float]]


def _labels(row: sa.RowMapping) -> tuple[str, ...]:
    return row["run_id"], row["name"], row["project"]


def _run_families(latest: Sequence[LatestOfRun]) -> Iterator[Metric]:
    for series, text in _PLAIN.items():
        family = GaugeMetricFamily(_NAMES.get(series, f"foreshock_{series}"), text, labels=LABELS)
        for labels, _, values in latest:
            if series in values:
                family.add_metric(labels, values[series])
        yield family
    step = GaugeMetricFamily("foreshock_last_step", "Newest step of the run.", labels=LABELS)
    heartbeat = GaugeMetricFamily(
        "foreshock_heartbeat_timestamp_seconds", "When the run was last heard of.", labels=LABELS
    )
    for labels, row, _ in latest:
        step.add_metric(labels, row["last_step"])
        heartbeat.add_metric(labels, row["heartbeat_at"])
    yield from (step, heartbeat)


def _gain_families(latest: Sequence[LatestOfRun]) -> Iterator[Metric]:
    directed = (*LABELS, "direction")
    worst = GaugeMetricFamily(
        "foreshock_layer_gain_worst",
        "Largest Amax gain of a single layer, mean over tokens.",
        labels=directed,
    )
    across = GaugeMetricFamily(
        "foreshock_layer_gain",
        "Percentiles across layers of the Amax gain, mean over tokens.",
        labels=(*directed, "percentile"),
    )
    composite = GaugeMetricFamily(
        "foreshock_composite_gain_worst", "Largest composite Amax gain, mean over tokens.", labels=directed
    )
    for labels, _, values in latest:
        for direction in ("forward", "backward"):
            gains = _gains(values, direction)
            if gains.composite is not None:
                composite.add_metric((*labels, direction), gains.composite)
            if gains.layers:
                worst.add_metric((*labels, direction), float(np.max(gains.layers)))
                for percentile, value in zip(PERCENTILES, _percentiles(gains.layers), strict=True):
                    across.add_metric((*labels, direction, str(percentile)), value)
    yield from (worst, across, composite)


def _gains(values: Mapping[str, float], direction: str) -> Gains:
    of_layers = _across_layers(values, f"layer_amax_{direction}_mean")
    composites = _across_layers(values, f"composite_amax_{direction}_mean")
    return Gains(of_layers, float(np.max(composites)) if composites else None)


def _across_layers(values: Mapping[str, float], series: str) -> list[float]:
    prefix = f"{series}["
    return [value for name, value in values.items() if name.startswith(prefix)]


def _percentiles(values: Sequence[float]) -> list[Any]:
    with np.errstate(invalid="ignore"):
        found: list[Any] = np.percentile(values, PERCENTILES).tolist()
    return found
