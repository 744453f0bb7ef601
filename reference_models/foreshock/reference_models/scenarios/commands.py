"""`foreshock scenarios`: run, label, fork, study, score, list. Nothing heavy is imported before they run."""

from pathlib import Path
from typing import Annotated

import typer

scenarios = typer.Typer(
    name="scenarios",
    help="Trainings that fail in known ways: train and record them, label them, list those that ship.",
    no_args_is_help=True,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@scenarios.command()
def run(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="TOML files, folders of them, or names that `list` shows."),
    ],
    out: Annotated[Path, typer.Option(help="The folder of recorded runs; runs that are there are kept.")],
    jobs: Annotated[int, typer.Option(help="Runs trained at once, one thread each.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Train the runs of scenarios and record every signal; goes on where an interrupted try stopped."""
    from foreshock.reference_models.scenarios.execution import run_command

    raise typer.Exit(run_command(files, out, jobs=jobs, as_json=as_json))


@scenarios.command()
def label(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `run` has filled.")],
    varied: Annotated[
        bool, typer.Option("--varied", help="Also ask all 27 variations of the rules whether they agree.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write each run's labels.json: onset, class and recovery from its loss alone, and its forks' label."""
    from foreshock.reference_models.scenarios.execution import label_command

    raise typer.Exit(label_command(directory, varied=varied, as_json=as_json))


@scenarios.command()
def fork(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `run` has filled.")],
    jobs: Annotated[int, typer.Option(help="Runs and controls forked at once, one thread each.")] = 1,
    keep_states: Annotated[
        bool, typer.Option("--keep-states", help="Leave the states at the forks where they are.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put the runs whose scenarios ask for it under stress, beside a control; label which are at risk."""
    from foreshock.reference_models.scenarios.execution import fork_command

    raise typer.Exit(fork_command(directory, jobs=jobs, keeps_states=keep_states, as_json=as_json))


@scenarios.command()
def study(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `run` has filled.")],
    family: Annotated[str, typer.Argument(help="Whose runs: `defence` say, as `list` shows families.")],
    as_json: AsJson = False,
) -> None:
    """Show what each axis of a family's grid changes in its runs, with intervals over the seeds."""
    from foreshock.reference_models.scenarios.execution import study_command

    raise typer.Exit(study_command(directory, family, as_json=as_json))


@scenarios.command()
def score(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `run` has filled.")],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Score this model, or those of `fit --apart`, each on the family it has not seen.",
        ),
    ] = None,
    thresholds_from: Annotated[
        Path | None,
        typer.Option(metavar="DIR2", help="Choose the budgets' thresholds on these runs, not on DIR's."),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML page with the pictures here.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the JSON object here, too.")] = None,
    jobs: Annotated[int, typer.Option(help="Runs watched at once, one process each.")] = 1,
    delay_steps: Annotated[
        int, typer.Option(help="Steps by which a page arrives late; leads are told net of it.")
    ] = 0,
    varied: Annotated[
        bool, typer.Option("--varied", help="Also rank under all 27 variations of the label rules.")
    ] = False,
    replicates: Annotated[int, typer.Option(help="Of the bootstrap behind the intervals.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Score foreshock's warnings, and every published baseline's; labels the runs first if need be."""
    from foreshock.reference_models.scenarios.scoring.scoring_command import score_command

    given = {"jobs": jobs, "num_replicates": replicates, "seed": seed, "delay_steps": delay_steps}
    status = score_command(
        directory,
        given,
        varied=varied,
        model=model,
        thresholds_from=thresholds_from,
        out=out,
        report=report,
        as_json=as_json,
    )
    raise typer.Exit(status)


@scenarios.command()
def fit(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `run` has filled.")],
    out: Annotated[Path, typer.Option(help="Where the model is written, as JSON.")],
    apart: Annotated[
        Path | None,
        typer.Option(metavar="DIR2", help="Write one model a family here, each fitted without it."),
    ] = None,
    budget: Annotated[
        float, typer.Option(help="False alarms per 1,000 healthy steps that are put up with.")
    ] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Fit the forecaster's model to recorded runs; thresholds come from runs that each fold has not seen."""
    from foreshock.reference_models.scenarios.fitting.fit_command import fit_command

    raise typer.Exit(fit_command(directory, out, apart=apart, budget=budget, as_json=as_json))


@scenarios.command(name="list")
def list_shipped(as_json: AsJson = False) -> None:
    """List the scenario files that ship, split by split."""
    from foreshock.reference_models.scenarios.execution import list_command

    raise typer.Exit(list_command(as_json=as_json))
