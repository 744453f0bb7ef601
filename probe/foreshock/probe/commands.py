"""`foreshock sync`: delivers what runs have left in their spools."""

import json
from pathlib import Path
from typing import Annotated

import typer


def sync(
    run_ids: Annotated[
        list[str] | None, typer.Argument(help="Runs to deliver; all of them if none is named.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="The collector (default: FORESHOCK_URL).")] = None,
    directory: Annotated[
        Path | None, typer.Option(help="The spools' folder (default: FORESHOCK_DIR).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send what offline or interrupted runs have recorded; safe to repeat, nothing arrives twice."""
    from foreshock.probe.errors import AttachError
    from foreshock.probe.sync import sync_runs

    try:
        results = sync_runs(run_ids or [], url=url, directory=directory)
    except AttachError as error:
        typer.echo(f"foreshock sync: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        print(json.dumps({"runs": [result.as_dict() for result in results]}))
    else:
        for result in results:
            typer.echo(result.sentence)
        if not results:
            typer.echo("nothing to deliver")
    if any(result.error for result in results):
        raise typer.Exit(1)
