"""Runs as Parquet: null is no value, NaN is one; float32 as it is stored."""

from collections.abc import Sequence
from typing import BinaryIO

from foreshock.exchange.errors import MissingLibraryError
from foreshock.exchange.merging import Part
from foreshock.wire import is_missing


class ParquetTable:
    """Writes a row group for each part; bytes are compressed with zstd."""

    def __init__(self, file: BinaryIO, columns: Sequence[str]) -> None:
        """Raises MissingLibraryError without pyarrow."""
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise MissingLibraryError("writing Parquet", "pyarrow", "exchange") from error
        axes = [("rank", pyarrow.int32()), ("step", pyarrow.int64()), ("time", pyarrow.float64())]
        self._array = pyarrow.array
        self._batch = pyarrow.record_batch
        self._schema = pyarrow.schema(axes + [(column, pyarrow.float32()) for column in columns])
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")

    def write(self, part: Part) -> None:
        """Appends the rows."""
        missing_KC = is_missing(part.values_KC)
        axes = [[part.rank] * len(part.steps), part.steps, part.times]
        arrays = [self._array(axis, field.type) for axis, field in zip(axes, self._schema, strict=False)]
        arrays += [
            self._array(values, mask=missing)
            for values, missing in zip(part.values_KC.T, missing_KC.T, strict=True)
        ]
        self._writer.write_batch(self._batch(arrays, schema=self._schema))

    def close(self) -> None:
        """Writes the footer; the file stays open."""
        self._writer.close()
