"""Runs as JSON lines: what has no value is not there; "NaN", "Infinity" and "-Infinity" are strings."""

import json
from collections.abc import Sequence
from typing import BinaryIO, Final

import numpy as np

from foreshock.exchange.merging import Part
from foreshock.exchange.tables.spelling import spell, spell_times
from foreshock.wire import is_missing

_WORDS: Final = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}


class JsonlTable:
    """Writes an object a line for each rank and step."""

    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        self._file = file
        self._keys = [f", {json.dumps(column)}: " for column in columns]

    def write(self, part: Part) -> None:
        """Appends the rows."""
        texts_KC, here_KC = spell(part.values_KC).tolist(), ~is_missing(part.values_KC)
        axes = zip(part.steps.tolist(), spell_times(part.times), strict=True)
        lines = []
        for (step, time), texts, here in zip(axes, texts_KC, here_KC, strict=True):
            told = [
                self._keys[place] + _WORDS.get(texts[place], texts[place])
                for place in np.flatnonzero(here).tolist()
            ]
            head = f'{{"rank": {part.rank}, "step": {step}, "time": {time}'
            lines.append(f"{head}{''.join(told)}}}\n")
        self._file.write("".join(lines).encode())

    def close(self) -> None:
        """Nothing is held; the file stays open."""
