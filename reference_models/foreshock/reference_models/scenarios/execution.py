"""What `foreshock scenarios` does once its options are read; each function returns the exit status."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import ModelsError
from foreshock.reference_models.scenarios import study_view, views
from foreshock.reference_models.scenarios.fork_runner import ForkRunner
from foreshock.reference_models.scenarios.fork_view import ForkProgressView, ForkSilence
from foreshock.reference_models.scenarios.labelling import family_counts, label_directory
from foreshock.reference_models.scenarios.runner import Runner
from foreshock.reference_models.scenarios.schema import Scenario, load_scenario
from foreshock.reference_models.scenarios.splits import find_files, shipped_files, shipped_name
from foreshock.reference_models.scenarios.study import study_directory
from foreshock.reference_models.termination import terminate_as_interrupt

FAILED: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130


def run_command(files: Sequence[str], out: Path, *, jobs: int, as_json: bool) -> int:
    """Trains and records; 1 where a run failed."""
    try:
        scenarios = [load_scenario(path) for given in files for path in find_files(given)]
        num_runs = sum(len(scenario.runs) for scenario in scenarios)
        runner = Runner(out.expanduser(), jobs)
        with terminate_as_interrupt():
            if as_json:
                outcomes = runner.run(scenarios, views.Silence())
            else:
                with views.ProgressView(num_runs) as view:
                    outcomes = runner.run(scenarios, view)
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios run: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(
            "foreshock scenarios run: interrupted; the same command trains what is missing", file=sys.stderr
        )
        return INTERRUPTED
    if as_json:
        print(plain_json.dump({"out": str(out), "runs": [outcome.as_dict() for outcome in outcomes]}))
    else:
        print(views.summary(outcomes, str(out)))
    return FAILED if any(outcome.state == "failed" for outcome in outcomes) else 0


def label_command(directory: Path, *, varied: bool, as_json: bool) -> int:
    """Labels; 1 where a record is damaged."""
    try:
        runs = label_directory(directory.expanduser(), varied=varied)
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios label: {error}", file=sys.stderr)
        return REFUSED
    if as_json:
        told = {"runs": [run.as_dict() for run in runs], "families": family_counts(runs)}
        print(plain_json.dump(told))
    else:
        console = Console()
        console.print(views.label_table(runs), "", views.family_table(runs), sep="\n")
    return FAILED if any(run.error for run in runs) else 0


def fork_command(directory: Path, *, jobs: int, keeps_states: bool, as_json: bool) -> int:
    """Trains the stress branches that are missing, and labels; 1 where some could not be trained."""
    directory = directory.expanduser()
    try:
        runner = ForkRunner(directory, jobs, keeps_states=keeps_states)
        with terminate_as_interrupt():
            if as_json:
                outcomes = runner.run(ForkSilence())
            else:
                with ForkProgressView() as view:
                    outcomes = runner.run(view)
        runs = [run for run in label_directory(directory) if run.forks]
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios fork: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print(
            "foreshock scenarios fork: interrupted; the same command trains what is missing", file=sys.stderr
        )
        return INTERRUPTED
    if as_json:
        told = [run.as_dict() for run in runs]
        print(plain_json.dump({"forked": [outcome.as_dict() for outcome in outcomes], "runs": told}))
    else:
        Console().print(views.fork_table(runs))
    return FAILED if any(outcome.error for outcome in outcomes) else 0


def study_command(directory: Path, family: str, *, as_json: bool) -> int:
    """Labels a family's runs and compares them along the axes of its grid; 1 where a record is damaged."""
    try:
        found = study_directory(directory.expanduser(), family)
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios study: {error}", file=sys.stderr)
        return REFUSED
    if as_json:
        print(plain_json.dump(found.as_dict()))
    else:
        console = Console()
        console.print(study_view.cell_table(found), "", study_view.effect_table(found), sep="\n")
        console.print(Text(study_view.footnote(found), style="dim"))
    return FAILED if found.num_left_out else 0


def list_command(*, as_json: bool) -> int:
    """Lists what ships."""
    scenarios = [load_scenario(path) for path in shipped_files()]
    if as_json:
        print(plain_json.dump({"scenarios": [_as_dict(scenario) for scenario in scenarios]}))
    else:
        Console().print(views.list_table(scenarios))
    return 0


def _as_dict(scenario: Scenario) -> dict[str, object]:
    header = scenario.header
    return {
        "name": shipped_name(scenario.path),
        "path": str(scenario.path),
        "family": header.family,
        "class": header.expected,
        "title": header.title,
        "why": header.why,
        "runs": [run.run_id for run in scenario.runs],
    }
