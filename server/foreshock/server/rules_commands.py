"""`foreshock rules`: checks, lists and tries rules. Nothing heavy is imported before it runs."""

from pathlib import Path
from typing import Annotated

import typer

rules = typer.Typer(
    name="rules", help="Rules: the shipped ones and your own, from a YAML file.", no_args_is_help=True
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A rules file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@rules.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Say everything that is wrong with a rules file, line by line; status 1 where anything is."""
    from foreshock.server.rule_files import check_command

    raise typer.Exit(check_command(file, as_json=as_json))


@rules.command(name="list")
def list_all(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A rules file; without it, what ships.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the rules that judge, shipped and own, with their settings."""
    from foreshock.server.rule_files import list_command

    raise typer.Exit(list_command(file, as_json=as_json))


@rules.command(name="test")
def try_out(
    file: File,
    on: Annotated[
        Path,
        typer.Option(
            "--on",
            metavar="TRACE",
            help="CSV or JSON lines, plain or .gz, Parquet, TensorBoard, or a recorded run's folder.",
        ),
    ],
    renamed: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="Rename a column of the trace; repeatable."),
    ] = None,
    total_steps: Annotated[
        int | None, typer.Option(min=1, help="How long the run was to be (default: as the trace declares).")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--from", metavar="FORM", help="The trace's form, as with foreshock replay.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a recorded run by a rules file, and say when each rule would have been pending and firing."""
    from foreshock.server.rule_trial import trial_command

    raise typer.Exit(trial_command(file, on, renamed or [], total_steps, kind, as_json=as_json))


@rules.command()
def status(
    url: Annotated[
        str | None, typer.Option(help="The collector (default: FORESHOCK_URL, http://127.0.0.1:8787).")
    ] = None,
    token: Annotated[str | None, typer.Option(help="Its token (default: FORESHOCK_TOKEN).")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a collector which rules judge and what is wrong with its file; status 1 where anything is."""
    from foreshock.server.rule_files import status_command

    raise typer.Exit(status_command(url, token, as_json=as_json))
