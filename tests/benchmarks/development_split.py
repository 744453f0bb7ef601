"""What the development split of scenarios gave: which runs failed, and what the two studies say.

Reads a folder that was filled by

    foreshock scenarios run development --out DIR --jobs 2
    foreshock scenarios fork DIR --jobs 2

and is named by FORESHOCK_SPLIT. Trains nothing. The page is results/development_split.md.
"""

import os
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from foreshock.reference_models.errors import RecordError
from foreshock.reference_models.scenarios.labelling import LabelledRun, label_directory
from foreshock.reference_models.scenarios.schema import Scenario, load_scenario
from foreshock.reference_models.scenarios.splits import find_files
from foreshock.reference_models.scenarios.study import HARMS, study_directory

FOLDER: Final = "FORESHOCK_SPLIT"
POSITIVE: Final = ("endogenous", "slow")
STUDIES: Final = ("defence", "data mix")


def measure() -> dict[str, Any]:
    """Labels the folder and counts, family by family and file by file."""
    if FOLDER not in os.environ:
        sys.exit(f"{FOLDER} is not set: give it the folder that `foreshock scenarios run development` filled")
    directory = Path(os.environ[FOLDER]).expanduser()
    labelled = {run.run_id: run for run in label_directory(directory, varied=True)}
    scenarios = [load_scenario(path) for path in find_files("development")]
    planned = [run.run_id for scenario in scenarios for run in scenario.runs]
    runs = [labelled[run_id] for run_id in planned if run_id in labelled]
    seconds = [run.manifest["seconds"] for run in runs]
    return {
        "planned": len(planned),
        "recorded": len(runs),
        "core_hours": round(sum(seconds) / 3600, 2),
        "meant_to_fail": _as_meant([run for run in runs if run.manifest["class"] in POSITIVE]),
        "meant_to_live": _as_meant([run for run in runs if run.manifest["class"] == "negative"]),
        "median_agreement_of_27_rules": statistics.median(run.agreement or 0.0 for run in runs),
        "files": [_of_file(scenario, labelled) for scenario in scenarios],
        "stress_forks": [point for run in runs for point in _of_forks(run)],
        "studies": {family: _study(directory, family) for family in STUDIES},
        "versions": runs[0].manifest["versions"],
    }


def _study(directory: Path, family: str) -> dict[str, Any]:
    """The study, or why there is none yet."""
    try:
        return study_directory(directory, family).as_dict()
    except RecordError as error:
        return {"missing": str(error)}


def _as_meant(runs: Sequence[LabelledRun]) -> dict[str, int]:
    return {"runs": len(runs), "as_meant": sum(run.is_as_meant is True for run in runs)}


def _of_file(scenario: Scenario, labelled: dict[str, LabelledRun]) -> dict[str, Any]:
    runs = [labelled[run.run_id] for run in scenario.runs if run.run_id in labelled]
    first = [run.labels.events[0] for run in runs if run.labels and run.labels.events]
    blips = sum(len(run.labels.blips) for run in runs if run.labels)
    onsets = sorted(event.onset_step for event in first)
    return {
        "file": scenario.path.stem,
        "family": scenario.header.family,
        "class": scenario.header.expected,
        "planned": len(scenario.runs),
        "recorded": len(runs),
        "failed": len(first),
        "kinds_of_first_event": dict(Counter(event.kind for event in first)),
        "first_onset": onsets[0] if onsets else None,
        "last_onset": onsets[-1] if onsets else None,
        "blips": blips,
        "not_as_meant": [run.run_id for run in runs if run.is_as_meant is False],
        "median_seconds": statistics.median(run.manifest["seconds"] for run in runs) if runs else None,
    }


def _of_forks(run: LabelledRun) -> list[dict[str, Any]]:
    point = run.manifest["variant"]
    return [
        {"run_id": run.run_id, "scenario": run.manifest["scenario"], "variant": point, **fork.as_dict()}
        for fork in run.forks or ()
    ]


def page(result: dict[str, Any]) -> str:
    """The figures as people read them, in Markdown."""
    fail, live, machine = result["meant_to_fail"], result["meant_to_live"], result["machine"]
    torch_version = result["versions"]["torch"]
    lines = [
        "# What the development split gave",
        "",
        f"{machine['date']}, {result['recorded']} of {result['planned']} runs recorded with every signal in "
        f"{result['core_hours']:.1f} core hours ({machine['cpu']}, torch {torch_version}); labelled from the "
        "loss alone. Made by `FORESHOCK_SPLIT=DIR python -m tests.benchmarks development_split`.",
        "",
        f"- Meant to fail: {_as_meant_in_words(fail)}; aim 80 %.",
        f"- Meant to live: {_as_meant_in_words(live)}.",
        "",
        "## File by file",
        "",
        "Onset: of each run's first event. Exogenous runs are what is planted in them; latent ones may do "
        "either.",
        "",
        "| family | file | class | runs | with an event | first events | onset | blips | seconds a run |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_file_line(file) for file in result["files"]),
    ]
    astray = [
        run_id for file in result["files"] for run_id in file["not_as_meant"] if file["class"] != "exogenous"
    ]
    lines += ["", f"Not as meant: {', '.join(astray) or 'none'}."]
    for family, study in result["studies"].items():
        told = [f"None yet: {study['missing']}."] if "missing" in study else _study_lines(study)
        lines += ["", f"## Study: {family}", "", *told]
    lines += ["", "## Structural risk by stress forks", "", *_fork_lines(result["stress_forks"])]
    return "\n".join(lines) + "\n"


def _as_meant_in_words(count: dict[str, int]) -> str:
    share = count["as_meant"] / count["runs"] if count["runs"] else float("nan")
    return f"{count['runs']} runs, of which {count['as_meant']} do ({share:.0%})"


def _file_line(file: dict[str, Any]) -> str:
    kinds = ", ".join(
        f"{count} {kind.replace('_', ' ')}" for kind, count in file["kinds_of_first_event"].items()
    )
    onset = "-" if file["first_onset"] is None else f"{file['first_onset']} to {file['last_onset']}"
    runs = (
        str(file["recorded"])
        if file["recorded"] == file["planned"]
        else f"{file['recorded']} of {file['planned']}"
    )
    seconds = "-" if file["median_seconds"] is None else f"{file['median_seconds']:.0f}"
    cells = (
        file["family"],
        file["file"],
        file["class"],
        runs,
        file["failed"],
        kinds or "-",
        onset,
        file["blips"],
        seconds,
    )
    return f"| {' | '.join(map(str, cells))} |"


def _study_lines(study: dict[str, Any]) -> list[str]:
    axes = [axis.rpartition(".")[2] for axis in study["axes"]]
    reference = ", ".join(
        f"{axis} {value}" for axis, value in zip(axes, study["cells"][-1]["cell"], strict=True)
    )
    titles = ("failed", "late loss, nat", "largest rise, nat")
    return [
        f"| {' | '.join(axes)} | seeds | {' | '.join(titles)} |",
        "|---" * (len(axes) + 1 + len(titles)) + "|",
        *(
            f"| {' | '.join(cell['cell'])} | {cell['harms']['failed']['num_seeds']} | "
            + " | ".join(_interval(cell["harms"][harm]) for harm in HARMS)
            + " |"
            for cell in study["cells"]
        ),
        "",
        f"What one change does to the reference ({reference}), the other axes at the reference or averaged "
        "over. Intervals of 95 % with the seed as the unit; * leaves 0 out.",
        "",
        f"| instead of | is | other axes | {' | '.join(titles)} |",
        "|---" * (3 + len(titles)) + "|",
        *(
            f"| {effect['axis'].rpartition('.')[2]} {effect['reference']} | {effect['value']} | {others} | "
            + " | ".join(_interval(effect[key][harm], "+") for harm in HARMS)
            + " |"
            for effect in study["effects"]
            for others, key in (("reference", "alone"), ("averaged", "on_average"))
        ),
    ]


def _interval(interval: dict[str, Any], sign: str = "") -> str:
    mean, low, high = (f"{interval[key]:{sign}.2f}" for key in ("mean", "low", "high"))
    mark = "*" if sign and (interval["low"] > 0 or interval["high"] < 0) else ""
    return f"{mean}{mark} [{low}, {high}]"


def _fork_lines(points: Sequence[dict[str, Any]]) -> list[str]:
    trained = [point for point in points if any(point[side] for side in ("run", "control"))]
    told = [f"{len(trained)} of {len(points)} forks that are asked for have been trained."]
    if not trained:
        return told
    words = {True: "yes", False: "no", None: "open"}
    return [
        *told,
        "",
        "| run | variant | share | step | at risk | why |",
        "|---|---|---|---|---|---|",
        *(
            f"| {point['run_id']} | {point['variant'] or '-'} | {point['share']:.0%} | {point['step']} | "
            f"{words[point['at_risk']]} | {point['why']} |"
            for point in trained
        ),
    ]
