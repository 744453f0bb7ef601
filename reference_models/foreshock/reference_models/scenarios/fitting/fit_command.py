"""What `foreshock scenarios fit` does once its options are read."""

import sys
from pathlib import Path
from typing import Final

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

REFUSED: Final = 2
STRUCTURAL_SHARE: Final = 0.05


def fit_command(directory: Path, out: Path, *, budget: float, as_json: bool) -> int:
    """Fits, chooses thresholds on runs that each fold has not seen, writes; tells what was reached."""
    console = Console(stderr=True, quiet=as_json)
    try:
        if not out.expanduser().parent.is_dir():
            raise FileNotFoundError(f"{out.parent} is no folder; make it, or give another path than {out}")
        sheets = _read(directory.expanduser(), console)
        console.print(f"fitting to {len(sheets)} runs, five times without a fifth of them")
        logits = unseen_logits(sheets, by_run)
        alarm, recall = alarm_threshold(sheets, logits, budget)
        structural = structural_threshold(sheets, logits, STRUCTURAL_SHARE)
        console.print("and once without each family")
        _, apart = alarm_threshold(sheets, unseen_logits(sheets, by_family), budget)
        told = {
            "runs": len(sheets),
            "families": sorted({sheet.run.family for sheet in sheets}),
            "events": sum(sheet.run.is_positive for sheet in sheets),
            "budget": budget,
            "recall_on_runs_left_out": round(recall, 4),
            "recall_on_families_left_out": round(apart, 4),
            "structural_share_of_healthy": STRUCTURAL_SHARE,
        }
        model = fit(sheets, round(alarm, 4), round(structural, 4))
        stored = msgspec.json.encode(msgspec.structs.replace(model, made=told))
        out.expanduser().write_bytes(msgspec.json.format(stored, indent=1) + b"\n")
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios fit: {error}", file=sys.stderr)
        return REFUSED
    print(plain_json.dump(told | {"alarm": model.alarm, "structural": model.structural, "out": str(out)}))
    return 0


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
