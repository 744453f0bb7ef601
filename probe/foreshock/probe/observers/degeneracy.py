"""What Amax cannot see of mixing matrices: streams that never mix, that have become one, that cancel.

Legend: L layers, K sampled tokens, n streams, C width. H is applied as x'_i = sum_j H_ij x_j.
"""

import math
from typing import Final

import torch
from torch import Tensor

from foreshock.kernels import gain

LAYER_SERIES: Final = (
    "identity_distance_mean",
    "log_sum_deviation_mean",
    "log_sum_deviation_max",
    "negative_sums_mean",
    "negative_sums_max",
)
CANCELLATION_SERIES: Final = (
    "pre_cancellation_mean",
    "pre_cancellation_min",
    "post_cancellation_mean",
    "post_cancellation_min",
)
COMPOSITE_SERIES: Final = ("log_stream_collapse_mean", "log_stream_collapse_max")
_LOG_TINY: Final = math.log(torch.finfo(torch.float32).tiny)


def layer_degeneracy(H_LKnn: Tensor) -> Tensor:
    """LAYER_SERIES of every layer, [5, L]."""
    num_streams = H_LKnn.shape[-1]
    identity = torch.eye(num_streams, device=H_LKnn.device)
    distance_LK = torch.linalg.matrix_norm(H_LKnn - identity) / math.sqrt(num_streams)
    sums_LKs = torch.cat((H_LKnn.sum(-1), H_LKnn.sum(-2)), dim=-1)
    deviation_LK = sums_LKs.abs().log().clamp_min(_LOG_TINY).abs().amax(-1)
    # What is NaN has no sign, and must not pass for positive
    negative_LK = (sums_LKs < 0).sum(-1) + 0.0 * sums_LKs.sum(-1)
    return torch.stack(
        (
            distance_LK.mean(-1),
            deviation_LK.mean(-1),
            deviation_LK.amax(-1),
            negative_LK.mean(-1),
            negative_LK.amax(-1),
        )
    )


def pre_cancellation(x_KnC: Tensor, h_pre_Kn: Tensor) -> Tensor:
    """Mean and minimum over tokens of |sum_j h_j x_j| / sum_j |h_j| |x_j|, [2]."""
    x_KnC, h_pre_Kn = x_KnC.float(), h_pre_Kn.float()
    read_KC = (h_pre_Kn.unsqueeze(1) @ x_KnC).squeeze(1)
    terms_K = (h_pre_Kn.abs() * torch.linalg.vector_norm(x_KnC, dim=-1)).sum(-1)
    return _left(torch.linalg.vector_norm(read_KC, dim=-1), terms_K)


def post_cancellation(h_post_Kn: Tensor) -> Tensor:
    """Mean and minimum over tokens of |sum_i h_i| / sum_i |h_i|, [2]."""
    h_post_Kn = h_post_Kn.float()
    return _left(h_post_Kn.sum(-1).abs(), h_post_Kn.abs().sum(-1))


def composite_degeneracy(H_LKnn: Tensor) -> Tensor:
    """COMPOSITE_SERIES, then the mean logarithm of each singular value of H_(L-1) .. H_0, [2 + n].

    The smallest singular values of a deep product of stochastic matrices lie below what float32 tells from
    0; a CPU multiplies in float64, a GPU scans all layers in one launch.
    """
    if H_LKnn.device.type == "cpu":
        product_Knn, log_scale = _product(H_LKnn.double())
        gains = gain(product_Knn.unsqueeze(0))
    else:
        gains, log_scale = gain(H_LKnn), H_LKnn.new_zeros(())
    collapse = gains.log_stream_collapse
    means = [value.mean[-1] for value in gains.log_singular_values]
    logarithms = torch.stack([collapse.mean[-1], collapse.max[-1], *means]) + log_scale
    return logarithms.clamp_min(_LOG_TINY).float()


def _product(H_LKnn: Tensor) -> tuple[Tensor, Tensor]:
    """The product of all layers over the tokens' common scale, and the logarithm of that."""
    product_Knn, log_scale = H_LKnn[0], H_LKnn.new_zeros(())
    tiny = torch.finfo(H_LKnn.dtype).tiny
    for layer in range(1, len(H_LKnn)):
        product_Knn = H_LKnn[layer] @ product_Knn
        scale = product_Knn.abs().amax().clamp_min(tiny)
        product_Knn, log_scale = product_Knn / scale, log_scale + scale.log()
    return product_Knn, log_scale


def _left(sum_K: Tensor, terms_K: Tensor) -> Tensor:
    """What is left of sums; one of nothing (all terms 0) has lost nothing."""
    share_K = torch.where(terms_K == 0, 1.0, sum_K / terms_K)
    return torch.stack((share_K.mean(), share_K.amin()))
