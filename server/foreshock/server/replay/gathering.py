"""Rows of a source gathered into blocks: sorted within reach, ranks joined, rollbacks told apart.

Rows of one step that follow one another are one row, the later value counts. A series whose step does
not rise has gone back: the next attempt begins, as with `foreshock import`. A value that comes late
(TensorBoard writes each by itself) takes its place as long as its block has not been handed on.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from foreshock.exchange.errors import ExchangeError
from foreshock.exchange.rows import Row
from foreshock.exchange.streams import MAX_ATTEMPTS
from foreshock.server.detection.block import Block
from foreshock.server.detection.context import Columns, columns_of
from foreshock.server.detection.joining import reduce_ranks
from foreshock.server.detection.sample import BoolArray, FloatArray
from foreshock.wire.records import MAX_COLUMNS

BLOCK_STEPS: Final = 1024
# Rows are held back for so many steps, so that late values find their step
REACH_STEPS: Final = 1024

Part = tuple[int, Block]
# Of each rank the time and the values of a step
Cell = dict[int, tuple[float, dict[str, float]]]


class Gathering:
    """Turns rows into (attempt, block); counts what was joined, went back or came too late."""

    def __init__(self) -> None:
        self.attempt = 0
        self.num_joined = 0
        self.num_late = 0
        self.back_to_step: int | None = None
        self._names: dict[str, None] = {}
        self._held: dict[int, Cell] = {}
        self._handed_step = -1
        # Per rank: the step of the row before, and where each series stands
        self._rank_steps: dict[int, int] = {}
        self._series_steps: dict[int, dict[str, int]] = {}

    def parts(self, rows: Iterable[Row]) -> Iterator[Part]:
        """Blocks of at most BLOCK_STEPS rising steps, each with the number of its attempt.

        Raises ExchangeError for too many columns, too many rollbacks, and ranks that are not side by side.
        """
        for row in rows:
            if not row.values:
                continue
            if self._has_gone_back(row):
                yield from self._hand_on(0)
                self._begin(row)
            self._add(row)
            if len(self._held) >= BLOCK_STEPS + REACH_STEPS:
                yield from self._hand_on(REACH_STEPS)
        yield from self._hand_on(0)

    @property
    def notes(self) -> list[str]:
        """One line for each kind of thing that was not as it should be."""
        notes = []
        if self.num_joined:
            notes.append(f"values told twice of one step: {self.num_joined}; the later one counts")
        if self.attempt:
            notes.append(
                f"steps go back: {self.attempt} times, first to step {self.back_to_step}; each time is taken "
                "for a rollback and judged afresh: if it was none, sort the rows by step"
            )
        if self.num_late:
            notes.append(
                f"values left out: {self.num_late}, told more than {REACH_STEPS} steps after their step"
            )
        return notes

    def _has_gone_back(self, row: Row) -> bool:
        before = self._rank_steps.get(row.rank, -1)
        if row.step >= before:
            return False
        stands = self._series_steps[row.rank]
        return any(stands.get(name, -1) >= row.step for name in row.values)

    def _begin(self, row: Row) -> None:
        self.attempt += 1
        if self.attempt >= MAX_ATTEMPTS:
            raise ExchangeError(
                f"the steps go back more than {MAX_ATTEMPTS - 1} times (here to step {row.step}): each time "
                "would be a rollback; sort the rows by step"
            )
        if self.back_to_step is None:
            self.back_to_step = row.step
        self._handed_step = -1
        self._rank_steps, self._series_steps = {}, {}

    def _add(self, row: Row) -> None:
        if row.step <= self._handed_step:
            if row.rank not in self._rank_steps:
                raise ExchangeError(
                    f"rank {row.rank} begins at step {row.step}, after another rank has passed step "
                    f"{self._handed_step}: ranks are judged together, so sort the rows by step, then by rank"
                )
            self.num_late += len(row.values)
            return
        cell = self._held.setdefault(row.step, {})
        if (there := cell.get(row.rank)) is None:
            cell[row.rank] = (row.time, row.values)
        else:
            self.num_joined += len(there[1].keys() & row.values.keys())
            cell[row.rank] = (max(there[0], row.time), there[1] | row.values)
        self._rank_steps[row.rank] = max(row.step, self._rank_steps.get(row.rank, -1))
        stands = self._series_steps.setdefault(row.rank, {})
        stands.update(dict.fromkeys(row.values, row.step))
        if len(stands) > MAX_COLUMNS:
            raise ExchangeError(
                f"there are more than {MAX_COLUMNS} series by step {row.step}; so many are allowed: leave "
                "some out with --map NAME="
            )

    def _hand_on(self, num_kept: int) -> Iterator[Part]:
        steps = sorted(self._held)
        steps = steps[: max(0, len(steps) - num_kept)]
        for start in range(0, len(steps), BLOCK_STEPS):
            chosen = steps[start : start + BLOCK_STEPS]
            cells = [self._held.pop(step) for step in chosen]
            self._handed_step = chosen[-1]
            yield self.attempt, self._block(chosen, cells)

    def _block(self, steps: list[int], cells: list[Cell]) -> Block:
        for cell in cells:
            for _, told in cell.values():
                self._names.update(dict.fromkeys(told))
        columns = columns_of(tuple(self._names))
        ranks = sorted({rank for cell in cells for rank in cell})
        grids = [_grid([cell.get(rank, (0.0, {}))[1] for cell in cells], columns) for rank in ranks]
        values, present = grids[0] if len(grids) == 1 else reduce_ranks(grids, columns)
        times = [max(time for time, _ in cell.values()) for cell in cells]
        return Block(np.array(steps, np.int64), np.array(times), columns, values, present)


def _grid(rows: list[dict[str, float]], columns: Columns) -> tuple[FloatArray, BoolArray]:
    """Values and presence [steps, columns]; rows with the same series are filled in at once."""
    values = np.full((len(rows), len(columns.names)), np.nan, order="F")
    present = np.zeros(values.shape, np.bool_, order="F")
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        alike.setdefault(tuple(row), []).append(place)
    for names, places in alike.items():
        there = np.ix_(places, [columns.place[name] for name in names])
        values[there] = [list(rows[place].values()) for place in places]
        present[there] = True
    return values, present
