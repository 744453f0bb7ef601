"""Gauges of live runs, read from the database when Prometheus asks.

Labels stay bounded: at most `max_live_runs` runs, no layer labels, and a run leaves when it finishes.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as PulledCollector
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import ServerError
from foreshock.server.judged_gauges import judged_families
from foreshock.server.newest_gauges import LiveRun, newest_families
from foreshock.server.store.engine import reading
from foreshock.server.store.read import StoredRun
from foreshock.server.store.schema import IS_KEPT, runs
from foreshock.server.store.windows import Windows

LIVE_STATES: Final = ("running", "lost")


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
        live = [
            LiveRun(row, StoredRun(self._engine, self._windows, row["run_id"], row).latest().values)
            for row in rows
        ]
        yield from newest_families(live)
        with reading(self._engine) as connection:
            yield from judged_families(connection, live)

    def _live_rows(self) -> tuple[Sequence[sa.RowMapping], int]:
        is_live = runs.c.state.in_(LIVE_STATES) & IS_KEPT
        newest = sa.select(runs).where(is_live).order_by(runs.c.started_at.desc(), runs.c.run_id)
        with reading(self._engine) as connection:
            count = connection.execute(sa.select(sa.func.count()).select_from(runs).where(is_live))
            return connection.execute(newest.limit(self._max_runs)).mappings().all(), count.scalar_one()
