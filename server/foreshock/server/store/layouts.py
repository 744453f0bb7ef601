"""Layouts as they are stored: the names of a stream's columns, joined and compressed."""

from collections.abc import Sequence

import zstandard


def pack_names(names: Sequence[str]) -> bytes:
    """Column names as zstd of lines; no legal name holds a line break."""
    return zstandard.ZstdCompressor().compress("\n".join(names).encode())


def unpack_names(data: bytes) -> tuple[str, ...]:
    """The inverse of `pack_names`."""
    return tuple(zstandard.ZstdDecompressor().decompress(data).decode().split("\n"))
