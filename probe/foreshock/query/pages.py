"""Lists that a collector gives page by page."""

from collections.abc import Iterator
from typing import Any, Final

from foreshock.query.connection import Connection

_PAGE: Final = 500


def all_of(connection: Connection, path: str, what: str, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every entry of a list, a page at a time, as they are asked for."""
    offset = 0
    while True:
        page = connection.get(path, **query, limit=_PAGE, offset=offset)
        yield from page[what]
        offset += len(page[what])
        if not page[what] or offset >= page["total"]:
            return
