"""What `foreshock scenarios fit` does once its options are read."""

import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import track

from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import ModelsError, ScoreError
from foreshock.reference_models.scenarios.fitting.additive import fit
from foreshock.reference_models.scenarios.fitting.folds import (
    alarm_threshold,
    by_family,
    by_run,
    structural_threshold,
    unseen_logits,
)
from foreshock.reference_models.scenarios.fitting.sheet import Sheet, read_sheet
from foreshock.reference_models.scenarios.record import find_records
from foreshock.server.detection.forecast.fusion import ModelFile

REFUSED: Final = 2
STRUCTURAL_SHARE: Final = 0.05


def fit_command(directory: Path, out: Path, *, apart: Path | None, budget: float, as_json: bool) -> int:
    """Fits, chooses thresholds on runs that each fold has not seen, writes; tells what was reached.

    apart: a folder for one model a family, each fitted without it.
    """
    console = Console(stderr=True, quiet=as_json)
    try:
        _check(out, apart)
        sheets = _read(directory.expanduser(), console)
        console.print(f"fitting to {len(sheets)} runs, five times without a fifth of them")
        logits = unseen_logits(sheets, by_run)
        alarm, recall = alarm_threshold(sheets, logits, budget)
        structural = structural_threshold(sheets, logits, STRUCTURAL_SHARE)
        console.print("and once without each family")
        unseen = unseen_logits(sheets, by_family)
        alarm_apart, recall_apart = alarm_threshold(sheets, unseen, budget)
        told: dict[str, Any] = {
            "runs": len(sheets),
            "families": sorted({sheet.run.family for sheet in sheets}),
            "events": sum(sheet.run.is_positive for sheet in sheets),
            "budget": budget,
            "recall_on_runs_left_out": round(recall, 4),
            "recall_on_families_left_out": round(recall_apart, 4),
            "structural_share_of_healthy": STRUCTURAL_SHARE,
        }
        model = fit(sheets, round(alarm, 4), round(structural, 4))
        _write(out, model, told)
        if apart is not None:
            levels = round(alarm_apart, 4), round(structural_threshold(sheets, unseen, STRUCTURAL_SHARE), 4)
            for family in told["families"]:
                others = [sheet for sheet in sheets if by_family(sheet) != family]
                known = sorted({sheet.run.family for sheet in others})
                _write(apart / f"{family}.json", fit(others, *levels), {"families": known, "budget": budget})
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios fit: {error}", file=sys.stderr)
        return REFUSED
    print(plain_json.dump(told | {"alarm": model.alarm, "structural": model.structural, "out": str(out)}))
    return 0


def _check(out: Path, apart: Path | None) -> None:
    """Minutes of work must not end in a folder that is not there."""
    if not out.expanduser().parent.is_dir():
        raise FileNotFoundError(f"{out.parent} is no folder; make it, or give another path than {out}")
    if apart is not None and not apart.expanduser().is_dir():
        raise FileNotFoundError(f"{apart} is no folder; make it, or give another one")


def _write(path: Path, model: ModelFile, made: dict[str, Any]) -> None:
    stored = msgspec.json.encode(msgspec.structs.replace(model, made=made))
    path.expanduser().write_bytes(msgspec.json.format(stored, indent=1) + b"\n")


def _read(directory: Path, console: Console) -> list[Sheet]:
    folders = find_records(directory)
    found = [read_sheet(folder) for folder in track(folders, "reading runs", console=console)]
    sheets = [sheet for sheet in found if sheet is not None]
    if not any(sheet.run.is_positive for sheet in sheets) or all(sheet.run.is_positive for sheet in sheets):
        raise ScoreError(
            f"{directory} holds {len(sheets)} runs that are scored, all with an event or all without; "
            "a model is fitted to both kinds: record more with foreshock scenarios run"
        )
    return sheets
