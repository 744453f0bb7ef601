"""Sinkhorn-Knopp in the log domain: the oracle.

Shape suffixes: n rows and columns of a matrix, T matrices (all leading axes in one).
Inside, the matrices' axis comes last: sums over n then run along contiguous memory.
"""

from typing import Final, Literal, get_args

import torch
from torch import Tensor

from foreshock.kernels.checks import check_tensor
from foreshock.kernels.errors import OptionError, ShapeError

Convention = Literal["paper", "rows_first", "v4"]
CONVENTIONS: Final = get_args(Convention)

MAX_STREAMS: Final = 8
V4_EPSILON: Final = 1e-6
# A row or column wholly at -inf counts as one of equal logits that lies this far below the matrix's
# largest: nothing beside the others (e^-200 is 0 in float32), yet with digits left to be normalised.
FLOOR_NATS: Final = 200.0
# Logits of a wider range take logarithms on every backend: log a and log b stay within it, and float32
# ends at 88 nats (README).
WIDE_NATS: Final = 60.0


def sinkhorn(logits: Tensor, *, num_iterations: int = 20, convention: Convention = "paper") -> Tensor:
    """Returns the (nearly) doubly stochastic matrices [..., n, n] that `logits` [..., n, n] lead to.

    `paper` (arXiv:2512.24880, eq. 9): exp, then columns and rows in turn, so rows come last and are
    exact. `rows_first`: rows and columns in turn, so columns are exact. `v4` (arXiv:2606.19348):
    softmax over the last axis plus 1e-6, columns, then (rows, columns) `num_iterations - 1` times with
    1e-6 in each divisor. At n = 1 the result is exactly 1 and its gradient exactly 0.

    Rows or columns wholly at -inf have a defined result (README); NaN and +inf make their own matrix
    NaN and no other. Gradients are autograd's, through the unrolled loop.

    Raises ShapeError unless the last two axes are equal and 1 to 8 long, OptionError for an unknown
    convention, fewer than one iteration or a dtype that is not floating point.
    """
    check(logits, num_iterations, convention)
    num_streams = logits.shape[-1]
    if num_streams == 1:
        finite = logits.masked_fill(logits == -torch.inf, 0.0)
        return 1.0 + (finite - finite)
    logits_nnT = logits.movedim((-2, -1), (0, 1)).reshape(num_streams, num_streams, -1)
    logits_nnT = lift_empty_lines(logits_nnT.contiguous())
    if convention == "v4":
        result_nnT = _v4(logits_nnT, num_iterations)
    else:
        result_nnT = alternate(logits_nnT, num_iterations, axes=(0, 1) if convention == "paper" else (1, 0))
    result = result_nnT.reshape(num_streams, num_streams, *logits.shape[:-2])
    return result.movedim((0, 1), (-2, -1))


def check(logits: Tensor, num_iterations: int, convention: str) -> None:
    """Raises ShapeError or OptionError, as `sinkhorn` says."""
    check_tensor("sinkhorn", "logits", logits)
    shape = tuple(logits.shape)
    if len(shape) < 2 or shape[-1] != shape[-2] or not 1 <= shape[-1] <= MAX_STREAMS:
        raise ShapeError(
            f"sinkhorn got logits of shape {list(shape)}; the last two axes must be equal and "
            f"1 to {MAX_STREAMS} long, as in [batch, tokens, 4, 4]"
        )
    if not isinstance(num_iterations, int) or isinstance(num_iterations, bool) or num_iterations < 1:
        raise OptionError(
            f"sinkhorn got num_iterations={num_iterations!r}; give a whole number from 1 on (paper: 20)"
        )
    if convention not in CONVENTIONS:
        allowed = ", ".join(CONVENTIONS)
        raise OptionError(f"sinkhorn got convention={convention!r}; choose one of {allowed}")


def lift_empty_lines(logits_nnT: Tensor) -> Tensor:
    """Gives rows and columns wholly at -inf the finite floor that stands for them."""
    missing = logits_nnT == -torch.inf
    empty = missing.all(dim=1, keepdim=True) | missing.all(dim=0, keepdim=True)
    largest_T = logits_nnT.detach().amax(dim=(0, 1))
    floor_T = torch.where(largest_T == -torch.inf, 0.0, largest_T) - FLOOR_NATS
    return torch.where(empty, floor_T, logits_nnT)


def alternate(log_nnT: Tensor, num_iterations: int, axes: tuple[int, int] = (0, 1)) -> Tensor:
    """Normalises over each axis in turn: axis 0 makes column sums 1, axis 1 row sums."""
    for _ in range(num_iterations):
        for axis in axes:
            log_nnT = log_nnT - torch.logsumexp(log_nnT, dim=axis, keepdim=True)
    return log_nnT.exp()


def _v4(logits_nnT: Tensor, num_iterations: int) -> Tensor:
    comb_nnT = torch.softmax(logits_nnT, dim=1) + V4_EPSILON
    comb_nnT = comb_nnT / (comb_nnT.sum(0, keepdim=True) + V4_EPSILON)
    for _ in range(num_iterations - 1):
        comb_nnT = comb_nnT / (comb_nnT.sum(1, keepdim=True) + V4_EPSILON)
        comb_nnT = comb_nnT / (comb_nnT.sum(0, keepdim=True) + V4_EPSILON)
    return comb_nnT
