"""Layouts as they are stored: the names of a stream's columns, joined and compressed."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import zstandard

# Layouts that are kept unpacked: an append looks at them every time, and they never change
_KEPT: Final = 256
_MAX_KEPT_BYTES: Final = 8192


def pack_names(names: Sequence[str]) -> bytes:
    """Column names as zstd of lines; no legal name holds a line break."""
    return zstandard.ZstdCompressor().compress("\n".join(names).encode())


def unpack_names(data: bytes) -> tuple[str, ...]:
    """The inverse of `pack_names`."""
    return _unpack_and_keep(data) if len(data) <= _MAX_KEPT_BYTES else _unpack(data)


def _unpack(data: bytes) -> tuple[str, ...]:
    return tuple(zstandard.ZstdDecompressor().decompress(data).decode().split("\n"))


_unpack_and_keep = lru_cache(_KEPT)(_unpack)
