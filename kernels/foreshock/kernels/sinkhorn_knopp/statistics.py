"""What watching the constraint needs to know of one call: ten numbers.

Shape suffixes: n rows and columns, T matrices (all leading axes in one, which comes last), S statistics.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

STATISTICS: Final = ("row_error", "column_error", "amax_forward", "amax_backward", "logit_range")
NUM_STATISTICS: Final = len(STATISTICS)


def _pair(row: int) -> tuple[property, property]:
    """Mean and maximum of one statistic, by name."""
    return property(lambda self: self.values[row, 0]), property(lambda self: self.values[row, 1])


@dataclass(frozen=True, slots=True)
class SinkhornStatistics:
    """Mean and maximum over the matrices of one call, in `values` [5, 2], float32 without gradient.

    `row_error` = max_i |sum_j M_ij - 1| and `column_error` likewise; `amax_forward` = max_i |sum_j M_ij|,
    `amax_backward` = max_j |sum_i M_ij|; `logit_range` = largest minus smallest logit, in nats. A NaN
    in one matrix makes the means and maxima that it enters NaN; of no matrices all are NaN.
    """

    values: Tensor

    row_error_mean, row_error_max = _pair(0)
    column_error_mean, column_error_max = _pair(1)
    amax_forward_mean, amax_forward_max = _pair(2)
    amax_backward_mean, amax_backward_max = _pair(3)
    logit_range_mean, logit_range_max = _pair(4)

    def transposed(self) -> "SinkhornStatistics":
        """Those of the transposed matrices."""
        row_error, column_error, forward, backward, logit_range = self.values.unbind()
        return SinkhornStatistics(torch.stack((column_error, row_error, backward, forward, logit_range)))


def statistics_of(result: Tensor, logits: Tensor | None = None) -> SinkhornStatistics:
    """Returns the statistics of matrices [..., n, n] that are already there.

    Without the `logits` that Sinkhorn made them of, the logit range is NaN.
    """
    result_nnT = _token_last(result)
    logits_nnT = result_nnT.new_full((1, 1, result_nnT.shape[-1]), torch.nan)
    return SinkhornStatistics(measure(logits_nnT if logits is None else _token_last(logits), result_nnT))


def _token_last(value: Tensor) -> Tensor:
    return value.detach().reshape(-1, *value.shape[-2:]).permute(1, 2, 0)


def measure(logits_nnT: Tensor, result_nnT: Tensor, range_T: Tensor | None = None) -> Tensor:
    """Returns the statistics [5, 2], mean and maximum, of what Sinkhorn made of `logits`.

    `range_T` is the range of each matrix's logits where that is known already.
    """
    if result_nnT.shape[-1] == 0:
        return result_nnT.new_full((NUM_STATISTICS, 2), torch.nan, dtype=torch.float32)
    # [direction, n, T]: rows, then columns.
    sums_2nT = torch.stack((result_nnT.sum(1), result_nnT.sum(0)))
    amax_2T = sums_2nT.abs().amax(1)
    error_2T = sums_2nT.sub_(1.0).abs_().amax(1)
    if range_T is None:
        range_T = logits_nnT.amax((0, 1)) - logits_nnT.amin((0, 1))
    values_ST = torch.cat((error_2T, amax_2T, range_T.unsqueeze(0).to(amax_2T.dtype))).float()
    return torch.stack((values_ST.mean(1), values_ST.amax(1)), dim=-1)
