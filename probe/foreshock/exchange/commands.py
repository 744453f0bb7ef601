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
