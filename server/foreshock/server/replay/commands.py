"""`foreshock replay`: judges a recorded run. Nothing heavy is imported before it runs."""

from pathlib import Path
from typing import Annotated

import typer


def replay(
    trace: Annotated[
        Path,
        typer.Argument(
            metavar="TRACE",
            help="CSV or JSON lines, plain or .gz, Parquet, TensorBoard, or a recorded run's folder.",
        ),
    ],
    rules: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judge by the rules of this YAML file too.")
    ] = None,
    total_steps: Annotated[
        int | None, typer.Option(min=1, help="How long the run was to be (default: as the trace declares).")
    ] = None,
    config: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An entry of its configuration: connection=mhc; repeatable."),
    ] = None,
    renamed: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="THEIRS=OURS", help="Rename a column; THEIRS= leaves it out; repeatable."
        ),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="FORM", help="csv, jsonl, parquet or tensorboard, where its name does not say."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object for each transition, one a line.")
    ] = False,
) -> None:
    """Judge a recorded run as if it were live, step by step, and tell what would have been told."""
    from foreshock.server.replay.execution import replay_command

    wishes = (rules, total_steps, config or [], renamed or [], kind)
    raise typer.Exit(replay_command(trace, *wishes, as_json=as_json))
