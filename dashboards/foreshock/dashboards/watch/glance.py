"""What is seen of runs at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import quote

import numpy as np

from foreshock.dashboards.health.evidence import number_of
from foreshock.dashboards.health.movement import distance
from foreshock.query.connection import Connection
from foreshock.query.errors import ProblemError
from foreshock.query.pages import all_of

NUM_BUCKETS: Final = 120
_GAINS: Final = "layer_amax_forward_mean"
Told = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Glance:
    """One run: its description and health, its open alerts, what its sparks are drawn from.

    `losses` and `gains` are over steps, oldest first, `gains` the layer's that is farthest from 1;
    `layers` is the newest gain of each layer.
    """

    facts: Told
    health: Told
    alerts: Sequence[Told] = ()
    losses: Sequence[float] = ()
    gains: Sequence[float] = ()
    layers: Sequence[float] = field(default=())

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended and all of it is judged: nothing more will come."""
        judged = (self.facts.get("summary") or {}).get("step")
        is_judged = self.facts["last_step"] < 0 or judged == self.facts["last_step"]
        return self.facts["state"] in ("finished", "crashed") and is_judged


class Look(Protocol):
    """One look at a collector; the same question each time."""

    def __call__(self, connection: Connection) -> list[Glance]:
        """What is seen now; raises QueryError."""


@dataclass(frozen=True, slots=True)
class LookAtRun:
    """Everything of one run."""

    run_id: str

    def __call__(self, connection: Connection) -> list[Glance]:
        """One glance; raises QueryError, of a run that is not there a ProblemError."""
        path = f"/runs/{quote(self.run_id, safe='')}"
        facts = connection.get(path)
        health = connection.get(f"{path}/health")
        alerts = connection.get(f"{path}/alerts", limit=200)["alerts"]
        told = connection.get(f"{path}/series", column="loss", buckets=NUM_BUCKETS)["series"]
        losses = _numbers(told[0]) if told else []
        return [
            Glance(
                facts,
                health,
                [one for one in alerts if one["state"] != "resolved"],
                losses,
                *_gains(connection, path),
            )
        ]


@dataclass(frozen=True, slots=True)
class LookAtAll:
    """The health of every run that runs or was lost, without its numbers."""

    project: str | None = None

    def __call__(self, connection: Connection) -> list[Glance]:
        """Glances, the gravest first; raises QueryError."""
        found = []
        for state in ("running", "lost"):
            runs = all_of(connection, "/runs", "runs", {"project": self.project, "state": state})
            found += [Glance(facts, facts["health"]) for facts in runs]
        return found


def _gains(connection: Connection, path: str) -> tuple[list[float], list[float]]:
    """The worst layer's gain over steps, and each layer's newest."""
    try:
        told = connection.get(f"{path}/map", series=_GAINS, buckets=NUM_BUCKETS)
    except ProblemError as error:
        if error.code != "unknown-series":
            raise
        return [], []
    rows = np.array([[number_of(one) for one in row] for row in told["mean"]], np.float64)
    if not rows.size:
        return [], []
    worst = [max(column, key=_known_distance) for column in rows.T.tolist()]
    layers = [row[-1] for row in rows.tolist()]
    return worst, layers


def _known_distance(gain: float) -> float:
    return -1.0 if np.isnan(gain) else distance(gain)


def _numbers(told: Told) -> list[float]:
    """Means of buckets, NaN where one held nothing finite; of the newest bucket its last value."""
    means = [np.nan if number_of(one) is None else float(one) for one in told["mean"]]
    return [*means[:-1], float(told["last"][-1])] if means else []
