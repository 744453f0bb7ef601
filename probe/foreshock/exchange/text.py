"""Lines of text files, plain or gzip, whose faults are told by file and line."""

import gzip
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import Final

from foreshock.exchange.errors import SourceError

GZIP_MAGIC: Final = b"\x1f\x8b"


def read_lines(path: Path) -> Generator[str, None, None]:
    """Every line with its ending, UTF-8 with or without a mark. Raises SourceError where it breaks off.

    Who may stop before the end closes it, so that the file is closed then.
    """
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise SourceError(path, f"no UTF-8 text: {error.reason}", number) from error
                if "\0" in text:
                    raise SourceError(path, "holds NUL bytes: is it a text file?", number)
                yield text
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise SourceError(path, f"the gzip file is broken after line {number}: {error}") from error
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror or error}") from error


def _open(path: Path) -> gzip.GzipFile:
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    # A plain file has the same lines
    return gzip.open(path, "rb") if is_gzip else path.open("rb")  # type: ignore[return-value]
