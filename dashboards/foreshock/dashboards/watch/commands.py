"""`foreshock watch`. Nothing heavy is imported before it runs."""

from typing import Annotated

import typer


def watch(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="The run's id (default: all that run).")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Of all runs, those of this project.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Say how it is now, and end.")] = False,
    url: Annotated[
        str | None, typer.Option(help="The collector (default: FORESHOCK_URL, http://127.0.0.1:8787).")
    ] = None,
    token: Annotated[str | None, typer.Option(help="Its token (default: FORESHOCK_TOKEN).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at each change.")] = False,
) -> None:
    """Watch a run's health, live: is it safe, which layer moves, since when. Ctrl-C ends it."""
    from foreshock.dashboards.watch.execution import watch_command

    raise typer.Exit(watch_command(run, project, url, token, once=once, as_json=as_json))
