"""What of the outbox waits, for whoever asks: the page of notifiers, and Prometheus at each scrape."""

from collections.abc import Iterator, Sequence
from typing import Final

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as PulledCollector
from sqlalchemy.exc import SQLAlchemyError

from foreshock.server.errors import ServerError
from foreshock.server.store.engine import reading
from foreshock.server.store.schema import outbox

# Of what is tried no more
NEVER: Final = 1e12


def count_waiting(engine: sa.Engine) -> dict[str, tuple[int, int]]:
    """By notifier: how many notifications wait, silenced ones too, and how many were given up."""
    is_waiting = sa.case((outbox.c.next_try_at < NEVER, 1), else_=0)
    query = (
        sa.select(outbox.c.notifier, sa.func.sum(is_waiting), sa.func.count())
        .where(outbox.c.delivered_at.is_(None), outbox.c.withheld.is_(None))
        .group_by(outbox.c.notifier)
    )
    with reading(engine) as connection:
        return {
            name: (int(waiting), int(total) - int(waiting))
            for name, waiting, total in connection.execute(query)
        }


class WaitingNotifications(PulledCollector):
    """Yields what waits, by notifier, at each scrape."""

    def __init__(self, engine: sa.Engine, names: Sequence[str], registry: CollectorRegistry) -> None:
        self._engine = engine
        self._names = names
        registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing: it is read at the scrape only."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One gauge; none where the database does not answer."""
        try:
            found = count_waiting(self._engine)
        except (ServerError, SQLAlchemyError):
            return
        family = GaugeMetricFamily(
            "foreshock_notifications_waiting",
            "Notifications that are still to be delivered.",
            labels=["notifier"],
        )
        for name in self._names:
            family.add_metric([name], found.get(name, (0, 0))[0])
        yield family
