"""The page: a verdict in words, the targets, every watcher, the four pictures, what was scored and how."""

import html
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from foreshock.reference_models.errors import ScoreError
from foreshock.reference_models.scenarios.scoring.report.figures import figures
from foreshock.reference_models.scenarios.scoring.report.words import CAPTIONS, DEFINITIONS, verdict
from foreshock.reference_models.scenarios.scoring.score import Scoreboard
from foreshock.reference_models.scenarios.scoring.score_view import estimate_in_words, footnote

STYLE: Final = Path(__file__).with_name("style.css")
TITLES: Final = {
    "lead": "How early it warned",
    "froc": "What a warning costs",
    "molchan": "Against chance and the clock",
    "reliability": "Whether its risk is true",
}


def report_page(board: Scoreboard) -> str:
    """One HTML document with everything in it. Raises ScoreError where plotly is not installed."""
    drawn = figures(board)
    # Within a script only `<` could end it or begin a comment
    data = json.dumps(drawn, allow_nan=False).replace("<", "\\u003c")
    pictures = "".join(
        f"<section class=picture><h2>{TITLES[key]}</h2><p>{html.escape(CAPTIONS[key])}</p>"
        + (f"<div id=picture-{key}></div>" if figure else "<p class=none>Nothing to draw.</p>")
        + "</section>"
        for key, figure in drawn.items()
    )
    title = f"Early warning scored: {board.folder.directory.name}"
    definitions = "".join(f"<li>{html.escape(line)}</li>" for line in DEFINITIONS)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{STYLE.read_text(encoding='utf-8')}</style>"
        f"<main><h1>{html.escape(title)}</h1>"
        + "".join(f"<p class=verdict>{html.escape(line)}</p>" for line in verdict(board))
        + f"<h2>Targets</h2>{_targets(board)}"
        + f"<div class=pictures>{pictures}</div>"
        + f"<h2>Every watcher</h2>{_watchers(board)}"
        + f"<h2>Family by family</h2>{_families(board)}"
        + f"<h2>What was scored, and how</h2><p>{html.escape(footnote(board))}</p><ul>{definitions}</ul>"
        + "</main>"
        + f"<script>{_plotly()}</script><script>const figures = {data};"
        + "for (const [key, figure] of Object.entries(figures)) if (figure) "
        + "Plotly.newPlot(`picture-${key}`, figure.data, figure.layout, "
        + "{responsive: true, displaylogo: false});</script></html>"
    )


def _targets(board: Scoreboard) -> str:
    rows = [
        f"<tr><td>{target.key}<td class='state {target.state.replace(' ', '-')}'>{target.state}"
        f"<td>{html.escape(target.asked)}<td>{html.escape(target.told)}"
        for target in board.targets
    ]
    return _table(("", "", "asked", "found"), rows)


def _watchers(board: Scoreboard) -> str:
    budgets = list(dict.fromkeys(key for each in board.watchers.values() for key in each.budgets))
    rows = []
    for each in board.watchers.values():
        at = each.published
        cells = [
            estimate_in_words(at.recall if at else None),
            estimate_in_words(at.false_per_1000 if at else None, ".3g"),
            estimate_in_words(at.healthy_runs_paged if at else None),
            estimate_in_words(at.lead_median_percent if at else None, ".1f"),
            *(
                estimate_in_words(each.budgets[key].recall if key in each.budgets else None)
                for key in budgets
            ),
            estimate_in_words(each.molchan.skill if each.molchan else None),
            estimate_in_words(each.molchan_by_schedule.skill if each.molchan_by_schedule else None),
        ]
        why = "" if each.unpublished is None else f" <small>{html.escape(each.unpublished)}</small>"
        name = f"<b>{html.escape(each.name)}</b><br><small>{html.escape(each.source)}</small>{why}"
        rows.append(f"<tr><td>{name}<td>" + "<td>".join(cells))
    titles = (
        "watcher",
        "recall",
        "false per 1,000",
        "healthy runs paged",
        "median lead, % of T",
        *(f"recall at {key}" for key in budgets),
        "Molchan skill",
        "the same, by the clock",
    )
    return _table(titles, rows)


def _families(board: Scoreboard) -> str:
    at = board.judged.published
    if at is None:
        return "<p class=none>The judged watcher publishes no alarm.</p>"
    counts = {family: sum(run.family == family for run in board.folder.runs) for family in at.false_by_family}
    rows = [
        f"<tr><td>{html.escape(family)}<td>{counts[family]}"
        f"<td>{estimate_in_words(at.recall_by_family.get(family))}<td>{false}"
        for family, false in at.false_by_family.items()
    ]
    return _table(("family", "runs", "recall", "false alarms"), rows)


def _table(titles: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{html.escape(title)}" for title in titles)
    return f"<div class=wide><table><thead><tr>{head}<tbody>{''.join(rows)}</table></div>"


def _plotly() -> str:
    if find_spec("plotly") is None:
        raise ScoreError(
            "plotly is not installed, and the report draws with it; pip install 'foreshock[scenarios]'"
        )
    from plotly.offline import get_plotlyjs

    bundle: str = get_plotlyjs()
    return bundle
