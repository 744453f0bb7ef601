"""Runs for a report, read from the database."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from foreshock.dashboards.figures import RUN_FIGURES, Figure
from foreshock.server.api.figures import draw_comparison
from foreshock.server.api.run_health import told_health
from foreshock.server.nonfinite import encode_json
from foreshock.server.store.alerts import AlertQuery, list_alerts
from foreshock.server.store.compare import CompareQuery
from foreshock.server.store.listing import describe_run
from foreshock.server.store.read import StoredRun
from foreshock.server.store.windows import Windows
from foreshock.wire.readings import Window


class StoredSource:
    """A database as a `foreshock.dashboards.report.Source`; a run that it lacks is an UnknownRunError."""

    def __init__(self, engine: sa.Engine, windows: Windows, where: str) -> None:
        self._engine, self._windows, self.where = engine, windows, where

    def run(self, run_id: str) -> Mapping[str, Any]:
        """The run's description."""
        return _plain(describe_run(self._reader(run_id)))

    def health(self, run_id: str) -> Mapping[str, Any]:
        """The run's health."""
        return _plain(told_health(self._reader(run_id)))

    def alerts(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        """The run's newest 500 alerts."""
        told: Sequence[Mapping[str, Any]] = list_alerts(self._engine, AlertQuery(run=run_id, limit=500))[
            "alerts"
        ]
        return told

    def figure(self, run_id: str, name: str, buckets: int) -> Figure | None:
        """One figure of the run."""
        return RUN_FIGURES[name](self._reader(run_id), Window(buckets=buckets))

    def comparison(self, run_ids: Sequence[str], name: str, column: str) -> Figure | None:
        """One figure over the runs."""
        query = CompareQuery(run=list(run_ids), group_by="group", column=column)
        return draw_comparison(self._engine, self._windows, name, query)

    def _reader(self, run_id: str) -> StoredRun:
        return StoredRun(self._engine, self._windows, run_id).found()


def _plain(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """As the API would tell it, with words for numbers that are not finite."""
    plain: Mapping[str, Any] = msgspec.json.decode(encode_json(told))
    return plain
