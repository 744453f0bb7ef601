"""Which model of foreshock is scored, and what it was fitted to: the shipped one, a file, or one a family."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from foreshock.reference_models.errors import ScoreError
from foreshock.reference_models.scenarios.scoring.foreshock import Foreshock
from foreshock.server.detection.forecast.fusion import ModelFile, build, shipped_file


@dataclass(frozen=True, slots=True)
class Judged:
    """A watcher and the families that it knows: of all others it says what it says of the unseen.

    fitted_to: the families of its model; of one model a family none, since each was left out of its own.
    """

    watcher: Foreshock
    fitted_to: frozenset[str]

    @classmethod
    def of(cls, path: Path | None) -> Self:
        """The shipped model; a model file; or a folder of `<family>.json`, fitted without that family.

        Raises ScoreError for what is no model, OSError for what cannot be read.
        """
        if path is None:
            stored = shipped_file()
            return cls(Foreshock(), _families(stored))
        path = path.expanduser()
        if path.is_dir():
            models = {file.stem: _read(file) for file in sorted(path.glob("*.json"))}
            if not models:
                raise ScoreError(f"{path} holds no model; foreshock scenarios fit --apart {path} makes them")
            return cls(
                Foreshock(weights_by_family={name: build(one) for name, one in models.items()}), frozenset()
            )
        stored = _read(path)
        return cls(Foreshock(weights=build(stored)), _families(stored))

    def unseen(self, families: Iterable[str]) -> frozenset[str]:
        """Those of the families to which nothing was fitted."""
        return frozenset(families) - self.fitted_to


def _read(path: Path) -> ModelFile:
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=ModelFile)
        build(stored)
    except (msgspec.DecodeError, ValueError) as error:
        raise ScoreError(f"{path} is no model of foreshock scenarios fit: {error}") from error
    return stored


def _families(stored: ModelFile) -> frozenset[str]:
    return frozenset(stored.made.get("families", ()))
