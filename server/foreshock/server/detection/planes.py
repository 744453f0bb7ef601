"""Columns of numbers in few bytes, without loss.

Of each column the first bytes of all numbers stand before the second ones, and so on: signs, exponents
and the high bytes of steps hardly change from one number to the next, so that what follows compresses.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import zstandard
from numpy.typing import DTypeLike, NDArray


def squeeze(columns: Sequence[NDArray[Any]]) -> bytes:
    """Columns [k] of any types as bytes; equal ones are equal bytes."""
    planes = [np.ascontiguousarray(one).view(np.uint8).reshape(-1, one.itemsize).T for one in columns]
    return zstandard.ZstdCompressor(level=1).compress(b"".join(one.tobytes() for one in planes))


def unsqueeze(data: bytes, types: Sequence[DTypeLike]) -> list[NDArray[Any]]:
    """The columns [k] of what `squeeze` has made of columns of these types."""
    dtypes = [np.dtype(one) for one in types]
    told = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8)
    count = len(told) // max(sum(one.itemsize for one in dtypes), 1)
    ends = count * np.cumsum([one.itemsize for one in dtypes])
    return [
        np.frombuffer(planes.reshape(one.itemsize, count).T.tobytes(), one)
        for planes, one in zip(np.split(told, ends[:-1]), dtypes, strict=True)
    ]
