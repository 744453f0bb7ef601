"""What an observer of mixing matrices asks of a model: where they are, and what one forward pass shows.

Legend: B batch, S tokens, n streams, C width.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from foreshock.kernels import SinkhornStatistics


@dataclass(frozen=True, slots=True)
class Mixed:
    """One layer's mixing as it was applied: x'_i = sum_j h_res_ij x_j + h_post_i F(sum_j h_pre_j x_j).

    `h_res` [B, S, n, n]; `streams` x [B, S, n, C], `h_pre`, `h_post` [B, S, n] where they are known.
    `statistics` are those of h_res where the kernel that made it has told them.
    """

    streams: Tensor | None
    h_res: Tensor
    h_pre: Tensor | None = None
    h_post: Tensor | None = None
    statistics: SinkhornStatistics | None = None


@runtime_checkable
class TellingPoint(Protocol):
    """One whose module computes statistics of h_res for whoever asks."""

    def tell(self, is_asked: bool) -> None:
        """Asks for them, or asks for them no more."""


class MixingPoint(Protocol):
    """One layer's mixing in a model of some kind."""

    @property
    def name(self) -> str:
        """Where the model holds it."""

    @property
    def module(self) -> nn.Module | None:
        """What is hooked, so that `read` is called after its forward; None where nothing can be."""

    @property
    def how(self) -> str:
        """In words, where the matrix comes from and how it is applied."""

    def parameters(self) -> Iterable[Tensor]:
        """What the mapping is learned by."""

    def start(self) -> None:
        """Prepares the module to be read."""

    def read(self, args: tuple[Any, ...], output: Any) -> Mixed | None:
        """What the forward pass that has just ended has mixed; None where it cannot be told."""

    def close(self) -> None:
        """Leaves the module as it was."""
