"""A study as people read it: its cells, and below them what each axis changes."""

import math

from rich.table import Table
from rich.text import Text

from foreshock.reference_models.scenarios.study import CONFIDENCE, HARMS, Effect, Interval, Study

_TITLES = {"failed": "failed", "late_loss": "late loss, nat", "largest_rise": "largest rise, nat"}


def cell_table(study: Study) -> Table:
    """A line for each cell: its values, how many seeds failed, the mean of each harm."""
    table = _table([*map(_short, study.axes), "seeds"])
    for cell in study.cells:
        seeds = str(cell.harms["failed"].num_seeds)
        table.add_row(*map(Text, (*cell.cell, seeds, *(_in_words(cell.harms[harm]) for harm in HARMS))))
    return table


def effect_table(study: Study) -> Table:
    """Two lines for each effect: alone, at the reference of all other axes, and averaged over them."""
    table = _table(["instead of", "is", "others"])
    for effect in study.effects:
        for others, harms in (("reference", effect.alone), ("averaged", effect.on_average)):
            cells = (_in_words(harms[harm], as_difference=True) for harm in HARMS)
            table.add_row(*map(Text, (*_change(effect), others, *cells)))
    return table


def footnote(study: Study) -> str:
    """What the numbers are, and which cell is the reference."""
    reference = ", ".join(
        f"{_short(axis)} {value}" for axis, value in zip(study.axes, study.cells[-1].cell, strict=True)
    )
    left_out = f" {study.num_left_out} damaged runs were left out." if study.num_left_out else ""
    return (
        f"Reference: {reference}. Intervals of {CONFIDENCE:.0%} over seeds; * leaves 0 out. Late loss: the "
        f"last fifth, where a dead step counts as the first loss.{left_out}"
    )


def _table(titles: list[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, justify="right" if title == "seeds" else "left")
    for harm in HARMS:
        table.add_column(_TITLES[harm], justify="right")
    return table


def _change(effect: Effect) -> tuple[str, str]:
    return f"{_short(effect.axis)} {effect.reference}", effect.value


def _in_words(interval: Interval, *, as_difference: bool = False) -> str:
    sign = "+" if as_difference else ""
    mean = f"{interval.mean:{sign}.2f}"
    if math.isnan(interval.low):
        return mean
    mark = "*" if as_difference and interval.excludes_zero else ""
    return f"{mean}{mark} [{interval.low:{sign}.2f}, {interval.high:{sign}.2f}]"


def _short(axis: str) -> str:
    return axis.rpartition(".")[2]
