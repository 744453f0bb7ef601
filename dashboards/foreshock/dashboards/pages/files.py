"""The addresses of a page's own files; browsers may keep them for good, as an address names their version."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from typing import Final

STATIC_DIR: Final = Path(__file__).parent / "static"
_NAMED: Final = re.compile(r'(?<==")/static/(?!plotly\.min\.js)')
_ENTRY: Final = re.compile(r'<script type="module" src="/static/([\w.-]+)"')
_IMPORT: Final = re.compile(r'^import [^"]*"\./([\w.-]+)"', re.MULTILINE)

Print = tuple[tuple[str, int, int], ...]


def version() -> str:
    """The name of the folder that the files seem to lie in; another one when any of them has changed."""
    return _version(_print())


def addressed(html: str) -> str:
    """The page with the version in its files' addresses, and its modules told of at once.

    A browser learns what a module imports only when it has read the module; told before, it fetches all of
    them in one go.
    """
    found = _ENTRY.search(html)
    modules = _modules(found[1], _print()) if found else ()
    links = "".join(f'  <link rel="modulepreload" href="/static/{name}">\n' for name in modules)
    return _NAMED.sub(f"/static/{version()}/", html.replace("</head>", f"{links}</head>", 1))


def _print() -> Print:
    """What tells cheaply whether a file has changed."""
    files = sorted(STATIC_DIR.iterdir())
    return tuple((file.name, (said := file.stat()).st_mtime_ns, said.st_size) for file in files)


@lru_cache(maxsize=1)
def _version(_: Print) -> str:
    digest = hashlib.sha256()
    for file in sorted(STATIC_DIR.iterdir()):
        digest.update(file.name.encode() + b"\n" + file.read_bytes())
    return f"v-{digest.hexdigest()[:12]}"


@lru_cache(maxsize=32)
def _modules(entry: str, _: Print) -> tuple[str, ...]:
    """A module and all that it imports, directly or not."""
    found: dict[str, None] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = None
            waiting += _IMPORT.findall((STATIC_DIR / name).read_text())
    return tuple(found)
