"""`foreshock runs` and `foreshock projects`: what a collector keeps. Nothing heavy is imported before."""

from typing import Annotated

import typer

runs = typer.Typer(name="runs", help="Runs of a collector: delete, pin, unpin.", no_args_is_help=True)
projects = typer.Typer(
    name="projects", help="Projects of a collector: what they hold, what is kept.", no_args_is_help=True
)

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")]
Url = Annotated[
    str | None, typer.Option(help="The collector (default: FORESHOCK_URL, http://127.0.0.1:8787).")
]
Token = Annotated[str | None, typer.Option(help="Its token (default: FORESHOCK_TOKEN).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@runs.command()
def delete(run: Run, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Delete a run for good; its probe, if it still runs, is told and trains on."""
    from foreshock.server.keeping import delete_command

    raise typer.Exit(delete_command(run, url, token, as_json=as_json))


@runs.command()
def pin(run: Run, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Keep a run whatever its project's limits say."""
    from foreshock.server.keeping import pin_command

    raise typer.Exit(pin_command(run, "pin", url, token, as_json=as_json))


@runs.command()
def unpin(run: Run, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Leave a run to its project's limits again."""
    from foreshock.server.keeping import pin_command

    raise typer.Exit(pin_command(run, "unpin", url, token, as_json=as_json))


@projects.command()
def keep(
    project: Annotated[str, typer.Argument(metavar="PROJECT")],
    days: Annotated[
        float | None, typer.Option(help="Delete a run so many days after it was last heard of.")
    ] = None,
    num_bytes: Annotated[
        str | None,
        typer.Option("--bytes", help="Delete the oldest ended runs beyond this: 10GB, 500MiB, 1000000."),
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Set how much of a project is kept; a limit that is not given is lifted."""
    from foreshock.server.keeping import keep_command

    raise typer.Exit(keep_command(project, days, num_bytes, url, token, as_json=as_json))


@projects.command(name="list")
def list_all(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """List projects with their runs, bytes and limits."""
    from foreshock.server.keeping import list_command

    raise typer.Exit(list_command(url, token, as_json=as_json))
