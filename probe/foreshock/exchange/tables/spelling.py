"""Float32 as text that reads back as the same float32."""

import numpy as np
from numpy.typing import NDArray

from foreshock.exchange.staging import ValueArray


def spell(values: ValueArray) -> NDArray[np.str_]:
    """The fewest digits that tell each number from its neighbours; `nan`, `inf` and `-inf` as they are."""
    return values.astype("U")


def spell_times(times: NDArray[np.float64]) -> list[str]:
    """Seconds likewise, as float64."""
    return [repr(time) for time in times.tolist()]
