"""What watching the constraint needs to know of one call: ten numbers.

Shape suffixes: T matrices (all leading axes in one), n rows and columns, S statistics.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SinkhornStatistics:
    """Mean and maximum over the matrices of one call, each a float32 scalar without gradient.

    `row_error` = max_i |sum_j M_ij - 1| and `column_error` likewise; `amax_forward` = max_i |sum_j M_ij|,
    `amax_backward` = max_j |sum_i M_ij|; `logit_range` = largest minus smallest logit, in nats. A NaN
    in one matrix makes the means and maxima that it enters NaN; of no matrices all are NaN.
    """

    row_error_mean: Tensor
    row_error_max: Tensor
    column_error_mean: Tensor
    column_error_max: Tensor
    amax_forward_mean: Tensor
    amax_forward_max: Tensor
    amax_backward_mean: Tensor
    amax_backward_max: Tensor
    logit_range_mean: Tensor
    logit_range_max: Tensor


def unpack(values_S2: Tensor) -> SinkhornStatistics:
    """Names the numbers of [5, 2], mean and maximum."""
    return SinkhornStatistics(*values_S2.detach().reshape(-1).unbind())


def measure(logits: Tensor, result: Tensor) -> Tensor:
    """Returns the statistics [5, 2] of what Sinkhorn made of `logits`, in a pass of their own."""
    num_streams = logits.shape[-1]
    logits_Tn, result_Tnn = logits.detach().flatten(-2), result.detach().reshape(-1, num_streams, num_streams)
    logits_TN = logits_Tn.reshape(-1, num_streams * num_streams)
    if len(logits_TN) == 0:
        return logits.new_full((5, 2), torch.nan, dtype=torch.float32)
    row_Tn, column_Tn = result_Tnn.sum(-1), result_Tnn.sum(-2)
    values_ST = torch.stack(
        (
            (row_Tn - 1.0).abs().amax(-1),
            (column_Tn - 1.0).abs().amax(-1),
            row_Tn.abs().amax(-1),
            column_Tn.abs().amax(-1),
            logits_TN.amax(-1) - logits_TN.amin(-1),
        )
    ).float()
    return torch.stack((values_ST.mean(1), values_ST.amax(1)), dim=-1)
