"""`foreshock import` and `foreshock export`. Nothing heavy is imported before they run."""

from pathlib import Path
from typing import Annotated

import typer

Url = Annotated[str | None, typer.Option(help="The collector (default: FORESHOCK_URL).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files, or folders of TensorBoard or wandb runs.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORM",
            help="csv, jsonl, parquet, tensorboard, wandb or trackio (default: by name or first bytes).",
        ),
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="The run's id (default: made of the content).")] = None,
    project: Annotated[str | None, typer.Option(help="Default: what the file says, else `default`.")] = None,
    name: Annotated[str | None, typer.Option(help="Default: what the file says, else its name.")] = None,
    group: Annotated[str | None, typer.Option(help="The group of seeds that it belongs to.")] = None,
    seed: Annotated[int | None, typer.Option(help="Its seed.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be given again.")] = None,
    config: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An entry of its configuration; repeatable.")
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="THEIRS=OURS", help="Rename a column; THEIRS= leaves it out; repeatable."
        ),
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Bring in runs of other tools; safe to repeat: the same content is stored once."""
    from foreshock.exchange.importing import Wishes
    from foreshock.exchange.intake import import_command

    wishes = Wishes(run_id, project, name, group, seed, tuple(tag or ()))
    raise typer.Exit(
        import_command(files, source, wishes, config or [], renamed or [], url=url, as_json=as_json)
    )


def export(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    form: Annotated[
        str | None,
        typer.Option("--format", metavar="FORM", help="parquet, csv or jsonl (default: by --out's name)."),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="The file to write, - for stdout (default: RUN.FORM here).")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column, such as loss; repeatable (default: all).")
    ] = None,
    attempt: Annotated[int | None, typer.Option(help="Which attempt (default: the newest).")] = None,
    rank: Annotated[int | None, typer.Option(help="Which rank (default: all).")] = None,
    start: Annotated[int | None, typer.Option(help="First step (default: the run's first).")] = None,
    stop: Annotated[int | None, typer.Option(help="Last step, inclusive (default: the newest).")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Take a run out as one table, bit for bit: a row for each rank and step, a column for each series."""
    from foreshock.exchange.outlet import export_command
    from foreshock.query.frames import Selection

    selection = Selection(column or None, attempt, rank, start, stop)
    raise typer.Exit(export_command(run_id, form, out, selection, url=url, as_json=as_json))
