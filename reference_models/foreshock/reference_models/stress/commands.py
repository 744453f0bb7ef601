"""`foreshock stress` and `foreshock plan`. Nothing heavy is imported before they run."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def stress(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="A scenario file with one configuration.")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            help="A script that attaches the probe, with places {lr} {depth} {steps} {batch} {seed}; {steps} "
            "must be there."
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Base value for {lr}.")] = None,
    depth: Annotated[int | None, typer.Option(help="Base value for {depth}.")] = None,
    steps: Annotated[int | None, typer.Option(help="Base value for {steps}.")] = None,
    batch: Annotated[int | None, typer.Option(help="Base value for {batch}.")] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Steps of a base run of CONFIG, if it has more (default: 200).")
    ] = None,
    depth_factor: Annotated[float, typer.Option(help="Deeper by; 1 leaves the depth alone.")] = 2.0,
    steps_factor: Annotated[float, typer.Option(help="Longer by.")] = 2.0,
    lr_factor: Annotated[float, typer.Option(help="Higher rate by.")] = 3.0,
    batch_factor: Annotated[float, typer.Option(help="Larger batch by.")] = 2.0,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="base, combined, higher_rate, deeper, larger_batch or longer; repeatable (default: all)."
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(help="One variant more: the base with model.FIELD=VALUE or train.FIELD=VALUE changed."),
    ] = None,
    unconstrained: Annotated[
        bool,
        typer.Option(
            "--unconstrained",
            help="Train HC in mHC's place as well: has the variance across seeds fallen?",
        ),
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Seeds of each variant (default: CONFIG's, or 3).")
    ] = None,
    minutes: Annotated[float, typer.Option(help="Bound on the whole; what does not fit is told.")] = 90.0,
    jobs: Annotated[int, typer.Option(help="Runs trained at once, one thread each.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for stress.json and logs (default: a new one of ~/.local/share)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train a configuration deeper, longer, faster, and see whether it is warned of: 0 passed, 1 failed."""
    from foreshock.reference_models.errors import StressError
    from foreshock.reference_models.stress.execution import REFUSED, StressOptions, run_stress
    from foreshock.reference_models.stress.knobs import Factors
    from foreshock.reference_models.stress.script import BaseValues

    try:
        factors = Factors(depth_factor, steps_factor, lr_factor, batch_factor)
    except StressError as error:
        typer.echo(f"foreshock stress: {error}", err=True)
        raise typer.Exit(REFUSED) from None
    options = StressOptions(
        config=config,
        command=command,
        values=BaseValues(lr, depth, steps, batch),
        factors=factors,
        only=tuple(only or ()),
        changes=tuple(change or ()),
        unconstrained=unconstrained,
        seeds=seeds,
        max_steps=max_steps,
        minutes=minutes,
        jobs=jobs,
        out=out,
    )
    raise typer.Exit(run_stress(options, as_json=as_json))
