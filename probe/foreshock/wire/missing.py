"""Telling "no value this step" from "the value is NaN".

A frame has a place for every column of its stream, but a layer may not have run, a loss may not have
been given. Such places hold one quiet NaN with a payload of our own; every other NaN is data.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

MISSING_BITS: Final = 0x7FC0F05E
MISSING: Final = np.array([MISSING_BITS], "<u4").view("<f4")


def is_missing(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a float32 array of any shape holds no value; look before it is widened to float64."""
    mask: NDArray[np.bool_] = np.ascontiguousarray(values).view(np.uint32) == MISSING_BITS
    return mask
