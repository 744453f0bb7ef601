"""What each address needs of whoever asks: one line a route, read from above.

An address that is not here needs `read` to be read and `admin` to be changed, and is closed to tokens
of one project, so that a route which nobody has thought about shows nothing of another project.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from foreshock.server.caller import Scope


@dataclass(frozen=True, slots=True)
class Need:
    """The scope that a request needs, None for none at all.

    `by_project`: whether what is behind keeps to the project of a token that has one.
    """

    scope: Scope | None
    by_project: bool = True


_OPEN: Final = Need(None)
_INGEST: Final = Need("ingest")
_READ: Final = Need("read")
_ADMIN: Final = Need("admin")
_READ_ALL: Final = Need("read", by_project=False)
_ADMIN_ALL: Final = Need("admin", by_project=False)
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})

# `*` is one part of a path, `**` any number of them.
NEEDS: Final = (
    ("GET", "/healthz", _OPEN),
    ("GET", "/readyz", _OPEN),
    ("GET", "/login", _OPEN),
    ("POST", "/login", _OPEN),
    ("GET", "/static/**", _OPEN),
    ("POST", "/api/v1/runs", _INGEST),
    ("POST", "/api/v1/runs/*/append", _INGEST),
    ("GET", "/api/v1/runs", _READ),
    ("GET", "/api/v1/runs/*", _READ),
    ("DELETE", "/api/v1/runs/*", _ADMIN),
    ("POST", "/api/v1/runs/*/pin", _ADMIN),
    ("POST", "/api/v1/runs/*/unpin", _ADMIN),
    ("GET", "/api/v1/runs/*/series", _READ),
    ("GET", "/api/v1/series", _READ),
    ("GET", "/api/v1/runs/*/quantiles", _READ),
    ("GET", "/api/v1/runs/*/map", _READ),
    ("GET", "/api/v1/runs/*/frames", _READ),
    ("GET", "/api/v1/runs/*/latest", _READ),
    ("GET", "/api/v1/runs/*/health", _READ),
    ("GET", "/api/v1/runs/*/events", _READ),
    ("GET", "/api/v1/runs/*/risk", _READ),
    ("GET", "/api/v1/runs/*/alerts", _READ),
    ("GET", "/api/v1/runs/*/figures", _READ),
    ("GET", "/api/v1/runs/*/departures", _READ),
    ("GET", "/api/v1/runs/*/figures/*", _READ),
    ("GET", "/api/v1/sparks", _READ),
    ("GET", "/api/v1/runs/*/layers/*/figures", _READ),
    ("GET", "/api/v1/runs/*/layers/*/figures/*", _READ),
    # As with alerts: whoever looks at a run may say what they saw
    ("POST", "/api/v1/runs/*/notes", _READ),
    ("GET", "/api/v1/runs/*/notes", _READ),
    # Whoever is woken by an alert must be able to say so
    ("POST", "/api/v1/alerts/**/*/acknowledge", _READ),
    ("GET", "/api/v1/alerts", _READ),
    ("GET", "/api/v1/alerts/**/*/snapshot.png", _READ),
    ("GET", "/api/v1/alerts/**/*", _READ),
    ("GET", "/api/v1/silences", _READ),
    # Who may keep others from being woken may change everything
    ("POST", "/api/v1/silences", _ADMIN),
    ("DELETE", "/api/v1/silences/*", _ADMIN),
    # They are told of all projects
    ("GET", "/api/v1/notifiers", _READ_ALL),
    ("POST", "/api/v1/notifiers/*/test", _ADMIN_ALL),
    ("GET", "/api/v1/compare", _READ),
    ("GET", "/api/v1/compare/figures/*", _READ),
    ("GET", "/api/v1/verdict", _READ),
    ("GET", "/api/v1/benchmark", _READ),
    ("GET", "/api/v1/benchmark/figures/*", _READ),
    ("GET", "/api/v1/events", _READ),
    ("GET", "/api/v1/about", _READ),
    ("GET", "/api/v1/openapi.json", _READ),
    ("GET", "/api/v1/projects", _READ),
    ("PUT", "/api/v1/projects/**", _ADMIN),
    ("GET", "/api/v1/tokens", _ADMIN),
    ("POST", "/api/v1/tokens", _ADMIN),
    ("DELETE", "/api/v1/tokens/*", _ADMIN),
    # Counts what all projects do
    ("GET", "/metrics", _READ_ALL),
    # Names a file of the collector's machine
    ("GET", "/api/v1/rules", _READ_ALL),
    ("GET", "/", _READ),
    ("GET", "/runs/*", _READ),
    ("GET", "/runs/*/layers/*", _READ),
    ("GET", "/runs/*/report", _READ),
    ("GET", "/compare/report", _READ),
    ("GET", "/compare", _READ),
    ("GET", "/verdict", _READ),
    ("GET", "/alerts", _READ),
    ("GET", "/settings", _READ),
    ("GET", "/benchmark", _READ),
)


def _pattern(address: str) -> re.Pattern[str]:
    parts = {"**": ".*", "*": "[^/]+"}
    return re.compile("".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*|\*)", address)))


_PATTERNS: Final = tuple((method, _pattern(address), need) for method, address, need in NEEDS)


def need_of(method: str, path: str) -> Need:
    """What a request needs; HEAD needs what GET does."""
    asked = "GET" if method == "HEAD" else method
    for known, pattern, need in _PATTERNS:
        if known == asked and pattern.fullmatch(path):
            return need
    return _READ_ALL if method in _READING else _ADMIN_ALL


def describe_needs(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with the token that each operation asks for, and the scope it must have."""
    scheme = {
        "type": "http",
        "scheme": "bearer",
        "description": "FORESHOCK_TOKEN, or a token made by an admin.",
    }
    document.setdefault("components", {})["securitySchemes"] = {"token": scheme}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            scope = need_of(method.upper(), path).scope
            operation["security"] = [] if scope is None else [{"token": []}]
            operation["x-scope"] = scope
    return document
