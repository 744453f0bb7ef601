"""`foreshock report`. Nothing heavy is imported before it runs."""

from pathlib import Path
from typing import Annotated

import typer

from foreshock.server.keeping_commands import AsJson, Token, Url


def report(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="The runs' ids.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file (default: foreshock-RUN.html)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    db: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Read a database instead: a file, or postgresql://.."),
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write what is known of some runs into one HTML file: health, alerts, figures, configuration."""
    from foreshock.server.report_execution import report_command

    raise typer.Exit(report_command(runs, out, db, url, token, force=force, as_json=as_json))
