"""What tables have in common: named columns, of which one is the step."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from foreshock.exchange.names import AXES, Naming
from foreshock.exchange.rows import Row, seconds, whole_number

MAX_RANK: Final = 2**20

Cell = Callable[[Any], float | None]


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the axes and the series of a table stand; `step` is its place, the other axes' None if absent."""

    theirs: tuple[str, ...]
    step: int
    time: int | None
    rank: int | None
    series: tuple[tuple[int, str], ...]

    @classmethod
    def of(cls, theirs: Sequence[str], naming: Naming) -> Self:
        """Reads a header. Raises ValueError for one without a step, without series, or naming one twice."""
        twice = next((name for name, count in Counter(theirs).items() if count > 1), None)
        if twice is not None:
            raise ValueError(f"column {twice!r} is there twice: rename or remove one")
        ours = [naming.column(name) for name in theirs]
        axes = {axis: ours.index(axis) if axis in ours else None for axis in AXES}
        if axes["step"] is None:
            there_are = _listed(theirs)
            raise ValueError(f"there is no column 'step' among {there_are}: name it with --map THEIRS=step")
        series = tuple((place, name) for place, name in enumerate(ours) if name and name not in AXES)
        if not series:
            raise ValueError(f"there is no series beside {_listed(theirs)}: nothing would be imported")
        return cls(tuple(theirs), axes["step"], axes["time"], axes["rank"], series)

    def row(self, cells: Sequence[Any], number: Cell) -> Row:
        """A row of cells; `number` reads one, None where it is empty.

        Raises ValueError that names the cell.
        """
        values: dict[str, float] = {}
        for place, name in self.series:
            try:
                value = number(cells[place])
            except (TypeError, ValueError):
                raise ValueError(not_a_number(self.theirs[place], cells[place])) from None
            if value is not None:
                values[name] = value
        step = whole_number(cells[self.step], "step")
        rank = 0 if self.rank is None else whole_number(cells[self.rank], "rank", MAX_RANK)
        time = 0.0 if self.time is None or cells[self.time] in ("", None) else seconds(cells[self.time])
        return Row(rank, step, time, values)


def not_a_number(column: str, value: object) -> str:
    """What to say of a cell that holds something else."""
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}.."
    return f"{column!r} is {shown}, which is no number: mend it, or leave it out with --map {column!r}="


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
