"""The room's tests share the exchange's collector."""

from tests.exchange.conftest import collector, connection

__all__ = ["collector", "connection"]
