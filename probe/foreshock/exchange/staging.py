"""Blocks of numbers set aside in a temporary file, so that memory stays small however long a run is."""

import tempfile
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import numpy as np
import zstandard
from numpy.typing import NDArray

from foreshock.exchange.errors import ExchangeError
from foreshock.wire import MISSING

_LEVEL: Final = 1

StepArray = NDArray[np.int64]
TimeArray = NDArray[np.float64]
ValueArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Block:
    """Some steps of one stream: steps int64 [k] rising, times float64 [k], values float32 [k, columns]."""

    steps: StepArray
    times: TimeArray
    values_KC: ValueArray

    def widened(self, num_columns: int) -> "Block":
        """The block with columns that came later, which have no value in it."""
        k, known = self.values_KC.shape
        if known == num_columns:
            return self
        values_KC = np.full((k, num_columns), MISSING, np.float32)
        values_KC[:, :known] = self.values_KC
        return Block(self.steps, self.times, values_KC)

    def with_gap(self, step: int, time: float) -> "Block":
        """The block with one more step, at which no column has a value."""
        gap_C = np.full((1, self.values_KC.shape[1]), MISSING, np.float32)
        values_KC = np.concatenate([self.values_KC, gap_C])
        return Block(np.append(self.steps, step), np.append(self.times, time), values_KC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block lies, and what can be known of it without reading it."""

    offset: int
    num_bytes: int
    num_steps: int
    first_step: int
    last_step: int


class Staging:
    """A temporary file of compressed blocks, gone when closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="foreshock-")
        self._end = 0

    @property
    def num_bytes(self) -> int:
        """How much lies in the file."""
        return self._end

    def put(self, block: Block) -> Place:
        """Sets a block aside; raises ExchangeError where the disk is full."""
        parts = (block.steps, block.times, block.values_KC.T)
        data = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        packed = zstandard.ZstdCompressor(level=_LEVEL).compress(data)
        try:
            self._file.seek(self._end)
            self._file.write(packed)
        except OSError as error:
            raise ExchangeError(
                f"the temporary folder {tempfile.gettempdir()} takes no more ({error.strerror}): "
                "make room, or set TMPDIR to a folder with more"
            ) from error
        place = Place(self._end, len(packed), len(block.steps), int(block.steps[0]), int(block.steps[-1]))
        self._end += len(packed)
        return place

    def get(self, place: Place) -> Block:
        """A block that was set aside."""
        self._file.seek(place.offset)
        data = zstandard.ZstdDecompressor().decompress(self._file.read(place.num_bytes))
        k = place.num_steps
        values = np.frombuffer(data, np.float32, offset=16 * k).reshape(-1, k)
        return Block(
            np.frombuffer(data, np.int64, k), np.frombuffer(data, np.float64, k, offset=8 * k), values.T
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
