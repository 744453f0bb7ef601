"""How a file's columns are called here: mapped, spelt legally, or passed over."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from foreshock.exchange.errors import OptionError
from foreshock.wire import UnknownSignalError, parse_column

AXES: Final = ("rank", "step", "time")
_ALIASES: Final = {"wall_time": "time"}
_ILLEGAL: Final = re.compile(r"[^A-Za-z0-9_./:\-]")
_LAYER: Final = re.compile(r"\[(?:0|[1-9][0-9]{0,4})\]$")
_LONGEST: Final = 120
_NUM_SHOWN: Final = 8


class Naming:
    """Gives every name of a source its name here.

    `mapping` is what the user said: theirs -> ours, where "" leaves a column out. What no collector would
    take is spelt with underscores and told in `notes`. Raises OptionError where two would be one.
    """

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        self._mapping = dict(mapping or {})
        for theirs, ours in self._mapping.items():
            if ours and ours not in AXES:
                _check(ours, theirs)
        self._columns: dict[str, str | None] = {}
        self._theirs: dict[str, str] = {}
        self._spelt: dict[str, str] = {}

    def column(self, theirs: str) -> str | None:
        """The name of a table's column: an axis ("rank", "step", "time"), a series, or None: left out."""
        if theirs not in self._columns:
            ours = self._mapping.get(theirs, _ALIASES.get(theirs, theirs))
            self._columns[theirs] = self._taken(theirs, ours) if ours else None
        return self._columns[theirs]

    def series(self, theirs: str) -> str | None:
        """The name of what can only be a series, whatever it is called; None where it is left out."""
        if theirs not in self._columns:
            ours = self._mapping.get(theirs, theirs)
            self._columns[theirs] = self._taken(theirs, _spell(ours)) if ours else None
        return self._columns[theirs]

    def check_used(self) -> None:
        """Raises OptionError for a mapping of a column that the source turned out not to have."""
        for theirs in self._mapping:
            if theirs not in self._columns:
                raise OptionError(
                    f"--map names {theirs!r}, which is no column here; there are: {_listed(self._columns)}"
                )

    @property
    def notes(self) -> list[str]:
        """One line about names that are spelt differently, one about names that are not in the catalogue."""
        notes = []
        if self._spelt:
            pairs = [f"{theirs!r} as {ours}" for theirs, ours in self._spelt.items()]
            notes.append(f"spelt differently: {_listed(pairs)}")
        plain = [name for name in self._theirs if name not in AXES and parse_column(name).signal is None]
        if plain:
            notes.append(f"plain series, not in the catalogue: {_listed(plain)}")
        return notes

    def _taken(self, theirs: str, ours: str) -> str:
        name = ours if ours in AXES else _spell(ours)
        if name != ours:
            self._spelt[theirs] = name
        if name in self._theirs:
            raise OptionError(
                f"columns {self._theirs[name]!r} and {theirs!r} would both be {name!r}: "
                f"rename one with --map {theirs!r}=NAME, or leave it out with --map {theirs!r}="
            )
        self._theirs[name] = theirs
        return name


def _spell(name: str) -> str:
    """The name itself where it is legal, else the nearest one that is."""
    layer = _LAYER.search(name)
    stem = name[: layer.start()] if layer else name
    spelt = _ILLEGAL.sub("_", stem)[:_LONGEST] or "_"
    if not (spelt[0].isalpha() or spelt[0] == "_"):
        spelt = f"_{spelt}"[:_LONGEST]
    return spelt + (layer[0] if layer else "")


def _check(ours: str, theirs: str) -> None:
    try:
        parse_column(ours)
    except UnknownSignalError as error:
        raise OptionError(f"--map {theirs}={ours}: {error}") from error


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - _NUM_SHOWN} more" if len(shown) > _NUM_SHOWN else ""
    return ", ".join(shown[:_NUM_SHOWN]) + more
