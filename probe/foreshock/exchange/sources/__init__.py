"""Where runs are read from; `open_sources` finds those of a path."""

from foreshock.exchange.sources.opening import KINDS, open_sources

__all__ = ["KINDS", "open_sources"]
