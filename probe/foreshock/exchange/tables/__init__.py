"""Tables that a run is written as: one row for each rank and step, one column for each series."""

from foreshock.exchange.tables.opening import FORMATS, Table, open_table

__all__ = ["FORMATS", "Table", "open_table"]
