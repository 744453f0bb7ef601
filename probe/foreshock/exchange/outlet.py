"""What `foreshock export` does with its words: options read, the run asked for, the result told."""

import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from foreshock.exchange.errors import ExchangeError, OptionError
from foreshock.exchange.exporting import Exported, export_frames
from foreshock.exchange.tables import FORMATS
from foreshock.query import Client, QueryError
from foreshock.query.frames import Selection


def export_command(
    run_id: str, form: str | None, out: str | None, selection: Selection, *, url: str | None, as_json: bool
) -> int:
    """Writes one run; the exit status: 2 where it cannot be, which is told."""
    try:
        chosen = _form(form, out)
        path = None if out == "-" else Path(out or f"{run_id}.{chosen}")
        if as_json and path is None:
            raise OptionError("--json prints to where --out - writes the table: leave one of them out")
        exported = _export(run_id, chosen, path, selection, url)
    except BrokenPipeError:
        # Who reads has had enough, `head` say; nothing more can be said there, at exit neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ExchangeError, QueryError) as error:
        print(f"foreshock export: {error}", file=sys.stderr)
        return 2
    for note in exported.notes:
        print(f"  {note}", file=sys.stderr)
    if as_json:
        print(json.dumps(exported.as_dict()))
    elif path is not None:
        print(exported.sentence)
    return 0


def _export(run_id: str, form: str, path: Path | None, selection: Selection, url: str | None) -> Exported:
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with (
        Client(url) as client,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task(f"reading {run_id}")
        run = client.run(run_id)
        frames = run.frames(
            selection.columns,
            attempt=selection.attempt,
            rank=selection.rank,
            start=selection.start,
            stop=selection.stop,
        )
        return export_frames(
            frames,
            run_id,
            form,
            path,
            lambda num_values: bar.update(task, description=f"reading {run_id}: {num_values} values"),
            lambda num_rows: bar.update(task, description=f"writing {run_id}: {num_rows} rows"),
        )


def _form(form: str | None, out: str | None) -> str:
    """The form asked for, else what the file's name says."""
    if form is None and out is not None:
        form = Path(out).suffix.removeprefix(".") or None
    if form not in FORMATS:
        given = "not given" if form is None else repr(form)
        raise OptionError(f"--format is {given}; allowed are {', '.join(FORMATS)}")
    return form
