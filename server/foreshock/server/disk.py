"""How much room the file system of a SQLite file has left."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector as PulledCollector


class FreeDisk(PulledCollector):
    """Yields the free bytes at each scrape; nothing on PostgreSQL, whose disk is elsewhere."""

    def __init__(self, engine: sa.Engine, registry: CollectorRegistry) -> None:
        is_file = engine.dialect.name == "sqlite"
        self._folder = Path(engine.url.database or "").resolve().parent if is_file else None
        registry.register(self)

    def describe(self) -> list[Metric]:
        """Nothing: it is read at the scrape only."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One gauge; none where the folder cannot be asked."""
        if self._folder is None:
            return
        try:
            free = shutil.disk_usage(self._folder).free
        except OSError:
            return
        yield GaugeMetricFamily(
            "foreshock_disk_free_bytes", "Bytes free where the SQLite file lies.", value=free
        )
