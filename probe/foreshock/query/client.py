"""A collector asked from Python: its runs, and groups of them compared."""

from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

from foreshock.query.arrays import group_series
from foreshock.query.connection import Connection
from foreshock.query.pages import all_of
from foreshock.query.run import Run
from foreshock.wire.readings import GroupSeries


class Client:
    """A collector's runs, read only.

        from foreshock.query import Client

        with Client() as client:
            for run in client.runs(project="pretrain", state="crashed"):
                steps, loss = run.values("loss")

    `url` and `token` are FORESHOCK_URL and FORESHOCK_TOKEN, or http://127.0.0.1:8787 and none, unless
    given. Where the collector is busy and says when to come back, it is asked again for at most
    `patience_seconds`; nothing else is tried twice.

    Raises AddressError here; every question raises UnreachableError where no collector answers and
    ProblemError, which holds the collector's own words, where it refuses.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, patience_seconds: float = 60.0
    ) -> None:
        self._connection = Connection(url, token, patience_seconds=patience_seconds)

    def __repr__(self) -> str:
        return f"<Client of {self._connection.url}>"

    def runs(
        self,
        *,
        project: str | None = None,
        q: str | None = None,
        group: str | None = None,
        tag: str | None = None,
        state: Literal["running", "finished", "crashed", "lost"] | None = None,
    ) -> list[Run]:
        """The runs that fit, newest first.

        Every word of `q` must be found: `key=value` in the configuration, another word in id, name,
        group, tags or configuration.
        """
        query = {"project": project, "q": q, "group": group, "tag": tag, "state": state}
        return [Run(self._connection, facts) for facts in all_of(self._connection, "/runs", "runs", query)]

    def run(self, run_id: str) -> Run:
        """One run; raises ProblemError (`unknown-run`) where there is none of that id."""
        return Run(self._connection, self._connection.get(f"/runs/{quote(run_id, safe='')}"))

    def alerts(
        self,
        *,
        project: str | None = None,
        state: Literal["pending", "firing", "resolved"] | None = None,
        rule: str | None = None,
        severity: Literal["info", "warning", "critical"] | None = None,
    ) -> list[dict[str, Any]]:
        """Alerts of all runs and groups, those that changed last first."""
        query = {"project": project, "state": state, "rule": rule, "severity": severity}
        return list(all_of(self._connection, "/alerts", "alerts", query))

    def compare(
        self,
        column: str,
        *,
        group_by: str = "group",
        project: str | None = None,
        reduce: Literal["max", "mean", "last"] = "max",
        buckets: int = 500,
    ) -> dict[str, GroupSeries]:
        """A column of groups of seeds on common steps, by group: mean, low and high are arrays [k].

        `group_by` is a configuration key (dots reach into objects), "group", "tag" or "state"; `reduce`
        says how the layers of a per-layer series become one.

            for key, group in client.compare("loss", group_by="connection").items():
                plt.fill_between(group.first_step, group.low, group.high, label=key)
        """
        told = self._connection.get(
            "/compare", column=column, group_by=group_by, project=project, reduce=reduce, buckets=buckets
        )
        return {one["key"]: group_series(one) for one in told["groups"]}

    def close(self) -> None:
        """Closes the connection; `with` does it, too."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
