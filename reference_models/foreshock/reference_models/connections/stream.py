"""A layer on several streams: what its mixing says is done to them.

    x' = H_res x + H_post^T F(H_pre x)          arXiv:2512.24880, eq. 3

Shape suffixes: B batch, S tokens, n streams (outputs i, inputs j), C width.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from foreshock.kernels import hyper_connection
from foreshock.kernels.hyper_connection import Coefficients


@dataclass(frozen=True, slots=True)
class Addition:
    """What a layer does to the streams: x' = h_res x + h_post^T y. It holds 1 / n of what x' holds."""

    y_BSC: Tensor
    h_res_BSnn: Tensor
    h_post_BSn: Tensor

    def __call__(self, x_BSnC: Tensor) -> Tensor:
        """Returns the streams after the layer, accumulated in float32, in the stream's dtype."""
        return hyper_connection.mix(x_BSnC, self.y_BSC, self.h_res_BSnn, self.h_post_BSn)

    def detached(self) -> "Addition":
        """The same numbers without their history."""
        return Addition(self.y_BSC.detach(), self.h_res_BSnn.detach(), self.h_post_BSn.detach())


class StreamConnection(nn.Module):
    """H_res x + H_post^T F(H_pre x), with F in float32."""

    def __init__(self, mixing: nn.Module, sublayer: nn.Module) -> None:
        super().__init__()
        self.mixing, self.sublayer = mixing, sublayer

    def addition(self, x_BSnC: Tensor, *given: Tensor) -> Addition:
        """Returns what the layer does to the streams x; the sub-layer gets `given` as well."""
        return Addition(*self._parts(x_BSnC, *given))

    def read(self, x_BSnC: Tensor) -> Tensor:
        """Returns what the sub-layer gets of the streams, [B, S, C]."""
        return _aggregated(x_BSnC, cast(Coefficients, self.mixing(x_BSnC)))

    def forward(self, x_BSnC: Tensor, *given: Tensor) -> Tensor:
        """Returns the streams after the sub-layer."""
        # Without an Addition: torch.compile before 2.13 does not follow one through its slots
        return hyper_connection.mix(x_BSnC, *self._parts(x_BSnC, *given))

    def _parts(self, x_BSnC: Tensor, *given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What an Addition is made of."""
        h = cast(Coefficients, self.mixing(x_BSnC))
        return self.sublayer(_aggregated(x_BSnC, h), *given), h.h_res, h.h_post


def _aggregated(x_BSnC: Tensor, h: Coefficients) -> Tensor:
    return hyper_connection.aggregate(x_BSnC, h.h_pre, out_dtype=torch.float32)
