"""What `foreshock import` does with its words: options read, files opened, results told."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from foreshock.exchange.errors import ExchangeError, OptionError
from foreshock.exchange.importing import Imported, Progress, Wishes, import_source
from foreshock.exchange.names import Naming
from foreshock.exchange.options import read_entries, read_mapping
from foreshock.exchange.sources import KINDS, open_sources
from foreshock.query.connection import Connection
from foreshock.query.errors import QueryError


def import_command(
    files: Sequence[Path],
    kind: str | None,
    wishes: Wishes,
    config: Sequence[str],
    renamed: Sequence[str],
    *,
    url: str | None,
    as_json: bool,
) -> int:
    """Imports every run of every file; the exit status: 2 where one cannot be, which is told.

    A file with a fault does not keep the others out.
    """
    done: list[Imported] = []
    faults: list[str] = []
    try:
        if kind is not None and kind not in KINDS:
            raise OptionError(f"--from is {kind!r}; allowed are {', '.join(KINDS)}")
        mapping = read_mapping(renamed)
        wishes = replace(wishes, config=read_entries(config))
        found = [(path, *one) for path in files for one in open_sources(path, kind, lambda: Naming(mapping))]
        if wishes.run_id is not None and len(found) > 1:
            raise OptionError(f"--run-id names one run, and there are {len(found)}: leave it out")
        with Connection(url) as connection:
            for path, source, naming in found:
                try:
                    with _shown(path) as progress:
                        imported = import_source(connection, path, source, naming, wishes, progress)
                except ExchangeError as error:
                    faults.append(str(error))
                    continue
                done.append(imported)
                if not as_json:
                    _tell(imported)
    except (ExchangeError, QueryError) as error:
        faults.append(str(error))
    for fault in faults:
        print(f"foreshock import: {fault}", file=sys.stderr)
    if as_json:
        print(json.dumps({"runs": [imported.as_dict() for imported in done], "faults": faults}))
    return 2 if faults else 0


def _tell(imported: Imported) -> None:
    print(imported.sentence)
    for note in imported.notes:
        print(f"  {note}", file=sys.stderr)


@contextmanager
def _shown(path: Path) -> Iterator[Progress]:
    """Progress on stderr, where that is a terminal."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"reading {path.name}", total=None)

        def on_sent(num_bytes: int, total: int) -> None:
            bar.update(task, description=f"sending {path.name}", total=total, advance=num_bytes)

        on_read: Callable[[int], None] = lambda num_rows: bar.update(  # noqa: E731
            task, description=f"reading {path.name}: {num_rows} rows"
        )
        yield Progress(on_read, on_sent)
