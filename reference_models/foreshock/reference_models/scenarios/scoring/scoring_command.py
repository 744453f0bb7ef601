"""What `foreshock scenarios score` does once its options are read."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import ModelsError
from foreshock.reference_models.scenarios.scoring.at_budget import Thresholds
from foreshock.reference_models.scenarios.scoring.baselines.published import baselines, missing_baselines
from foreshock.reference_models.scenarios.scoring.folder import OnRun
from foreshock.reference_models.scenarios.scoring.judged import Judged
from foreshock.reference_models.scenarios.scoring.report.page import report_page
from foreshock.reference_models.scenarios.scoring.score import Scoreboard, score
from foreshock.reference_models.scenarios.scoring.score_view import (
    ScoreProgressView,
    footnote,
    target_table,
    watcher_table,
)
from foreshock.reference_models.scenarios.scoring.scoring_options import ScoringOptions
from foreshock.reference_models.scenarios.scoring.watcher import Watcher

DAMAGED: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130


def score_command(
    directory: Path,
    given: Mapping[str, int],
    *,
    varied: bool,
    model: Path | None,
    thresholds_from: Path | None,
    out: Path | None,
    report: Path | None,
    as_json: bool,
) -> int:
    """Scores, writes, prints; 1 where a record is damaged. `given` are the numbers of ScoringOptions."""
    try:
        judged = Judged.of(model)
        watchers: tuple[Watcher, ...] = (judged.watcher, *baselines())
        options = ScoringOptions(varied=varied, **given)
        for path in (out, report):
            _check_writable(path)
        with _watched(as_json) as on_run:
            thresholds = _thresholds(thresholds_from, watchers, options, on_run)
            board = score(
                directory.expanduser(),
                watchers,
                options,
                thresholds=thresholds,
                unseen=judged.unseen,
                missing=missing_baselines(),
                on_run=on_run,
            )
        told = plain_json.dump(board.as_dict())
        if out is not None:
            out.expanduser().write_text(told + "\n", encoding="utf-8")
        if report is not None:
            report.expanduser().write_text(report_page(board), encoding="utf-8")
    except (ModelsError, OSError) as error:
        print(f"foreshock scenarios score: {error}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("foreshock scenarios score: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        print(told)
    else:
        _print(board)
    return DAMAGED if board.folder.damaged else 0


def _thresholds(
    directory: Path | None, watchers: tuple[Watcher, ...], options: ScoringOptions, on_run: OnRun
) -> Mapping[str, Thresholds] | None:
    if directory is None:
        return None
    plain = replace(options, varied=False)
    return score(directory.expanduser(), watchers, plain, on_run=on_run).thresholds()


def _check_writable(path: Path | None) -> None:
    """Minutes of work must not end in a folder that is not there."""
    if path is not None and not path.expanduser().parent.is_dir():
        raise FileNotFoundError(f"{path.parent} is no folder; make it, or give another path than {path}")


@contextlib.contextmanager
def _watched(as_json: bool) -> Iterator[OnRun]:
    if as_json:
        yield lambda run, done, total: None
        return
    with ScoreProgressView() as view:
        yield view.on_run


def _print(board: Scoreboard) -> None:
    console = Console()
    console.print(watcher_table(board), "", target_table(board), "", sep="\n")
    console.print(Text(footnote(board), style="dim"))
