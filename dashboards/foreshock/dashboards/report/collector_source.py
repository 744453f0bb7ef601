"""Runs read from a collector over HTTP."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from foreshock.dashboards.figures import Figure
from foreshock.dashboards.report.gathering import gather
from foreshock.dashboards.report.report import Report
from foreshock.query.connection import Connection
from foreshock.query.errors import ProblemError
from foreshock.query.pages import all_of


class CollectorSource:
    """A collector as a `Source`; what it refuses is a ProblemError, with its own words."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.where = connection.url

    def run(self, run_id: str) -> Mapping[str, Any]:
        """`GET /runs/{run_id}`."""
        told: Mapping[str, Any] = self._connection.get(_path(run_id))
        return told

    def health(self, run_id: str) -> Mapping[str, Any]:
        """`GET /runs/{run_id}/health`."""
        told: Mapping[str, Any] = self._connection.get(f"{_path(run_id)}/health")
        return told

    def alerts(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        """`GET /runs/{run_id}/alerts`, all pages."""
        return list(all_of(self._connection, f"{_path(run_id)}/alerts", "alerts", {}))

    def figure(self, run_id: str, name: str, buckets: int) -> Figure | None:
        """`GET /runs/{run_id}/figures/{name}`."""
        return self._drawn(f"{_path(run_id)}/figures/{quote(name, safe='')}", buckets=buckets)

    def comparison(self, run_ids: Sequence[str], name: str, column: str) -> Figure | None:
        """`GET /compare/figures/{name}` of these runs alone."""
        where = f"/compare/figures/{quote(name, safe='')}"
        return self._drawn(where, run=list(run_ids), group_by="group", column=column)

    def _drawn(self, path: str, **query: Any) -> Figure | None:
        try:
            figure: Figure = self._connection.get(path, **query)
        except ProblemError as error:
            if error.code == "unknown-figure":
                return None
            raise
        return figure


def report(*run_ids: str, url: str | None = None, token: str | None = None) -> Report:
    """A report of some runs of a collector, to look at in a notebook.

    `url` and `token` are FORESHOCK_URL and FORESHOCK_TOKEN unless given. Raises QueryError where no
    collector answers or a run is unknown, TooManyRunsError.

        report("hc-seed-0")                       # its health and alerts in words
        report("hc-seed-0").figure("gain_map")    # a plotly figure
    """
    with Connection(url, token) as connection:
        return gather(CollectorSource(connection), run_ids)


def _path(run_id: str) -> str:
    return f"/runs/{quote(run_id, safe='')}"
