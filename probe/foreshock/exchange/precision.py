"""Float64 to float32, and what that costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Precision:
    """Counts what the store, which keeps float32, cannot keep of the numbers that it is given.

    A number counts as rounded where its float32, written in as few digits as tell it from its neighbours,
    reads back as another number: 0.1 is kept, 0.123456789 is not.
    """

    num_rounded: int = 0
    num_overflowed: int = 0

    def narrow(self, wide: NDArray[np.float64]) -> NDArray[np.float32]:
        """The values as float32; what is too large becomes infinite."""
        with np.errstate(over="ignore", under="ignore"):
            narrow = wide.astype(np.float32)
        is_finite = np.isfinite(wide)
        self.num_overflowed += int(np.count_nonzero(is_finite & ~np.isfinite(narrow)))
        inexact = is_finite & np.isfinite(narrow) & (narrow != wide)
        if inexact.any():
            told = narrow[inexact].astype("U").astype(np.float64)
            self.num_rounded += int(np.count_nonzero(told != wide[inexact]))
        return narrow

    def note(self, num_values: int) -> str | None:
        """One line about what so many values have lost; None where nothing was."""
        lost = []
        if self.num_rounded:
            lost.append(f"{self.num_rounded} rounded")
        if self.num_overflowed:
            lost.append(f"{self.num_overflowed} too large and now infinite")
        if not lost:
            return None
        return f"of {num_values} values {', '.join(lost)}: the store keeps float32, about 7 digits"
