"""One condition of a restart: whether it is met, with the numbers in words, and what to do if not."""

from dataclasses import dataclass
from typing import Literal

State = Literal["met", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """A condition: `words` say how it stands, `todo` what to do where it is failed or missing, else "".

    `is_marginal` marks a failure so narrow that what was said before is kept (hysteresis).
    """

    name: str
    title: str
    state: State
    words: str
    todo: str = ""
    is_marginal: bool = False
