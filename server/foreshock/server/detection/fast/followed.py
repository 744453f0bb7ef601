"""Which columns the fast layer follows, in which order, and on which scale."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final

import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import IndexArray, columns_of
from foreshock.server.detection.sample import BoolArray, Float32Array
from foreshock.wire import parse_column

# Positive too, though the catalogue reads them on a linear scale
_ALSO_LOGS: Final = frozenset(
    {
        "learning_rate",
        "grad_norm_clipped",
        "step_seconds",
        "probe_seconds",
        "norm_weight_rms",
        "canary_embedding_rms",
        "canary_embedding_max",
        "router_margin_p01",
    }
)
# What is read on a log scale and is 0 or less is taken for this
_SMALLEST: Final = np.float32(1e-12)
# What is larger leaves single precision no room to compute with
_LARGEST: Final = np.float32(1e36)


@dataclass(frozen=True, slots=True)
class Followed:
    """Columns in the catalogue's order, those that are followed in logarithms first."""

    names: tuple[str, ...]
    num_logs: int

    def __len__(self) -> int:
        return len(self.names)

    def read(self, block: Block) -> tuple[Float32Array, BoolArray]:
        """The block's values [S, columns] on their scales, and which of them are known.

        In single precision, as a probe sends them; what is missing, not finite or beyond 1e36 is not known,
        and may be anything.
        """
        slots, places = _where(self.names, block.columns.names)
        by_column = np.full((len(self), len(block)), np.nan, np.float32)
        with np.errstate(over="ignore"):
            by_column[slots] = block.values.T[places]
        # Steps are looked at one after the other from here on
        values = np.ascontiguousarray(by_column.T)
        known: BoolArray = np.abs(values) <= _LARGEST
        logs = values[:, : self.num_logs]
        np.log(np.maximum(logs, _SMALLEST, out=logs), out=logs)
        return values, known


@lru_cache(maxsize=256)
def widened(names: tuple[str, ...], block_names: tuple[str, ...]) -> Followed:
    """Columns that are followed, and those of a block that the catalogue knows; no quantiles over layers."""
    known = set(names)
    parsed = [(name, parse_column(name)) for name in block_names if name not in known]
    added = [name for name, column in parsed if column.signal is not None and column.quantile is None]
    return followed(columns_of((*names, *added)).names)


@lru_cache(maxsize=256)
def followed(names: tuple[str, ...]) -> Followed:
    """Columns in the catalogue's order as they are followed."""
    logs = [name for name in names if is_log(name)]
    return Followed((*logs, *(name for name in names if not is_log(name))), len(logs))


def is_log(name: str) -> bool:
    """Whether a column is followed in logarithms, as what is positive and grows by shares is."""
    signal = parse_column(name).signal
    return signal is not None and (signal.log_scale or signal.name in _ALSO_LOGS)


@lru_cache(maxsize=256)
def _where(names: tuple[str, ...], block_names: tuple[str, ...]) -> tuple[IndexArray, IndexArray]:
    """Of columns that both have, the places among the first and among the second."""
    place = columns_of(block_names).place
    both = [(slot, place[name]) for slot, name in enumerate(names) if name in place]
    slots, places = np.array(both, np.intp).reshape(-1, 2).T
    return slots, places


# A series, the first of some layers in a row or -1, and how many columns that is
Span = tuple[str, int, int]


def pack_names(names: Sequence[str]) -> list[Span]:
    """Columns' names in few bytes: layers in a row as one span."""
    parsed = [(column.series, column.layer) for column in map(parse_column, names)]
    spans = []
    for _, in_a_row in groupby(
        enumerate(parsed), key=lambda one: (one[1][0], -1 if one[1][1] is None else one[1][1] - one[0])
    ):
        members = list(in_a_row)
        series, layer = members[0][1]
        spans.append((series, -1 if layer is None else layer, len(members)))
    return spans


def unpack_names(spans: Sequence[Span]) -> tuple[str, ...]:
    """The inverse of `pack_names`."""
    return tuple(
        series if first < 0 else f"{series}[{layer}]"
        for series, first, count in spans
        for layer in range(first, first + count)
    )
