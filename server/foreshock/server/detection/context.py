"""What is known of a run, and where each series stands among its columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foreshock.wire import catalogue_series, parse_column

IndexArray = NDArray[np.intp]

_NOWHERE: Final[IndexArray] = np.empty(0, np.intp)
_SIGNAL_OF: Final = dict(catalogue_series())
_CATALOGUE_ORDER: Final = {series: place for place, series in enumerate(_SIGNAL_OF)}
# A user's own series counts for the rules only where its name says that the model computes it
MODEL_PREFIXES: Final = (
    "layer_",
    "composite_",
    "log_composite_",
    "log_gain_",
    "stream_",
    "canary_embedding_",
)
REDUCTION_CODES: Final = {"mean": 0, "max": 1, "min": 2}


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run has declared of itself. Everything may be missing; rules say what follows then."""

    total_steps: int | None = None
    constraint: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def connection(self) -> str | None:
        """The connection's name as the configuration gives it, in lower case."""
        name = self.config.get("connection")
        return name.lower() if isinstance(name, str) else None

    @property
    def is_constrained(self) -> bool:
        """Whether mixing matrices must be doubly stochastic: declared so, or found to be mHC."""
        if self.constraint is not None:
            return self.constraint == "doubly_stochastic"
        return self.connection in ("mhc", "mhc_v4", "mhc_lite", "mhc-lite")

    def share_of_run(self, share: float, at_most: int) -> int:
        """`share` of the run in whole steps, at least 1; `at_most` where its length is unknown."""
        if self.total_steps is None:
            return at_most
        return max(1, min(at_most, round(share * self.total_steps)))


class Columns:
    """The columns of some samples in the catalogue's order, layer by layer, users' own at the end."""

    def __init__(self, names: tuple[str, ...]) -> None:
        parsed = _in_order(names)
        self.names = tuple(name for name, _, _ in parsed)
        self.place = {name: place for place, name in enumerate(self.names)}
        self.series = tuple(series for _, series, _ in parsed)
        self.reductions = np.array([_across_ranks(series) for series in self.series], np.intp)
        places: dict[str, list[int]] = {}
        for place, series in enumerate(self.series):
            places.setdefault(series, []).append(place)
        self._places = {series: np.array(places[series], np.intp) for series in places}
        self._per_layer = frozenset(series for _, series, layer in parsed if layer is not None)

    def scalar(self, series: str) -> int | None:
        """The place of a series without layers."""
        return self.place.get(series)

    def layers(self, series: str) -> IndexArray:
        """The places of a per-layer series, layer 0 first; empty where there is none."""
        return self._places[series] if series in self._per_layer else _NOWHERE


@lru_cache(maxsize=256)
def judged_places(names: tuple[str, ...], own_series: frozenset[str] = frozenset()) -> IndexArray:
    """Which of these columns any rule can look at: the others need not be unpacked to judge a run.

    `own_series` are users' series that their own rules look at.
    """
    columns = [parse_column(name) for name in names]
    wanted = [
        column.quantile is None
        and (
            column.series in _SIGNAL_OF
            or column.series.startswith(MODEL_PREFIXES)
            or column.series in own_series
        )
        for column in columns
    ]
    return np.flatnonzero(wanted)


def _in_order(names: tuple[str, ...]) -> list[tuple[str, str, int | None]]:
    """(name, series, layer), sorted so that no result depends on the order of declaration."""
    parsed = [(name, column.series, column.layer) for name in names for column in (parse_column(name),)]
    return sorted(
        parsed,
        key=lambda one: (
            _CATALOGUE_ORDER.get(one[1], len(_CATALOGUE_ORDER)),
            one[1],
            -1 if one[2] is None else one[2],
        ),
    )


def _across_ranks(series: str) -> int:
    """How ranks become one: as the catalogue says; the mean for a user's own series."""
    signal = _SIGNAL_OF.get(series)
    return REDUCTION_CODES["mean" if signal is None else signal.across_ranks]


@lru_cache(maxsize=256)
def columns_of(names: tuple[str, ...]) -> Columns:
    """The columns of these names, built once."""
    return Columns(names)


def describe(series: str) -> str:
    """A series in words: its signal's description, or its own name."""
    signal = _SIGNAL_OF.get(series)
    return signal.description if signal else series
