"""What `foreshock report` does: reads runs from a collector or a database, and writes one file."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from rich.console import Console

from foreshock.dashboards.errors import DashboardError
from foreshock.dashboards.names import printable
from foreshock.dashboards.report import CollectorSource, Report, Source, gather, write_html
from foreshock.query.connection import Connection
from foreshock.query.errors import QueryError
from foreshock.server.errors import InvalidError, ServerError

REFUSED = 2


def report_command(
    runs: Sequence[str],
    out: Path | None,
    db: str | None,
    url: str | None,
    token: str | None,
    *,
    force: bool,
    as_json: bool,
) -> int:
    """The exit status: 0, or 2 where nothing was written, with one line on stderr that says why."""
    if not all(run.strip() for run in runs):
        return _refused("the id of a run is empty: foreshock watch --once shows all that train")
    try:
        target = _target(runs, out, force=force)
        with _source(db, url, token) as source, _progress() as heard:
            found = gather(source, runs, heard)
            heard("writing")
            num_bytes = _write(target, write_html(found), force=force)
    except (QueryError, DashboardError, OSError) as error:
        return _refused(str(error))
    except ServerError as error:
        return _refused(error.detail)
    _tell(found, target, num_bytes, as_json=as_json)
    return 0


def _target(runs: Sequence[str], out: Path | None, *, force: bool) -> Path:
    """Where to; raises InvalidError before anything is read where that cannot be written."""
    name = runs[0] if len(runs) == 1 else f"{len(runs)}-runs"
    target = out or Path(
        f"foreshock-{''.join(one if one.isalnum() or one in '._-' else '-' for one in name)}.html"
    )
    if target.is_dir():
        raise InvalidError(f"{target} is a folder: give a file, such as {target / 'report.html'}")
    if not target.parent.is_dir():
        raise InvalidError(f"there is no folder {target.parent}: make it, or give another --out")
    if target.exists() and not force:
        raise InvalidError(f"{target} is there already: give another --out, or --force to overwrite it")
    return target


@contextmanager
def _source(db: str | None, url: str | None, token: str | None) -> Iterator[Source]:
    if db is None:
        with Connection(url, token) as connection:
            yield CollectorSource(connection)
        return
    if url is not None:
        raise InvalidError("--db and --url name two places: give one of them")
    # A collector is asked without any of these
    from foreshock.server.report_source import StoredSource
    from foreshock.server.settings import Settings
    from foreshock.server.store.engine import open_to_read
    from foreshock.server.store.windows import Windows

    database = open_to_read(db)
    try:
        yield StoredSource(database.engine, Windows(Settings(db=db).cache_bytes), _shown(database.engine.url))
    finally:
        database.close()


def _shown(address: sa.URL) -> str:
    """The file's name, or the database's address without its password: a report is handed around."""
    if address.get_backend_name() == "sqlite":
        return printable(Path(address.database or "").name)
    return printable(address.render_as_string(hide_password=True))


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda words: None
        return
    with console.status("reading") as status:
        yield lambda words: status.update(printable(words))


def _write(target: Path, pieces: Iterable[str], *, force: bool) -> int:
    """Written beside and renamed, so that nobody finds half a report."""
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(pieces)
        if target.exists() and not force:
            raise InvalidError(f"{target} came to be meanwhile: give --force to overwrite it")
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target.stat().st_size


def _tell(found: Report, target: Path, num_bytes: int, *, as_json: bool) -> None:
    if as_json:
        told = [
            {
                "run_id": run.run_id,
                "level": run.health["level"],
                "word": run.health["word"],
                "figures": list(run.drawn),
                "alerts": len(run.told_alerts),
            }
            for run in found.runs
        ]
        comparison = list(found.comparison)
        print(json.dumps({"file": str(target), "bytes": num_bytes, "comparison": comparison, "runs": told}))
        return
    for run in found.runs:
        print(f"{run.health['sign']} {run.name}: {run.health['word']}. {run.health['sentence']}")
    print(f"{target}, {num_bytes / 1e6:.1f} MB")


def _refused(words: str) -> int:
    print(f"foreshock report: {printable(words, 1000)}", file=sys.stderr)
    return REFUSED
