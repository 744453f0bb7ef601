"""Gains of mixing matrices and of their products over depth.

Shape suffixes: L layers, T tokens, n streams; D = 2 T holds prefixes and transposed suffixes side by side.
H is applied as x'_i = sum_j H_ij x_j: rows are outputs. Inside, the token axis comes last, so that every
operation runs along contiguous memory, and nothing is read back from the device.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from foreshock.kernels.errors import ShapeError

MAX_STREAMS: Final = 8
# 2^9 = 512th powers leave at most 0.49 / 512 between values that squaring cannot part (README).
NUM_SQUARINGS: Final = 9
# Between normalisations a product of factors with largest entry 1 stays within 8^4 above and, for matrices
# whose entries span less than nine decades, above float32's smallest number.
LAYERS_PER_NORMALISATION: Final = 4
SQUARINGS_PER_NORMALISATION: Final = 3


@dataclass(frozen=True, slots=True)
class LayerGains:
    """Gains of single matrices, each with the leading shape of what was given.

    Definitions are those of the signals `layer_*`: `amax_*` are not norms (signs cancel), `norm_inf`
    and `norm_one` are.
    """

    amax_forward: Tensor
    amax_backward: Tensor
    norm_inf: Tensor
    norm_one: Tensor
    row_error: Tensor
    column_error: Tensor
    negativity: Tensor


@dataclass(frozen=True, slots=True)
class CompositeGains:
    """Gains of the products over depth, each [L, T].

    Of the prefix P_l = H_l .. H_0: `log_amax_forward`, `log_norm_inf`, `log_norm_two`, `smallest_sum`,
    `row_error`, `column_error`. Of the suffix S_l = H_(L-1) .. H_l, which the gradient at layer l has
    passed: `log_amax_backward`, `log_norm_one`. Logarithms stay finite where the product overflows.
    """

    log_amax_forward: Tensor
    log_amax_backward: Tensor
    log_norm_inf: Tensor
    log_norm_one: Tensor
    log_norm_two: Tensor
    smallest_sum: Tensor
    row_error: Tensor
    column_error: Tensor


def layer_gains(H: Tensor) -> LayerGains:
    """Returns the gains of each matrix of `H` [..., n, n].

    Raises ShapeError unless the last two axes are equal and 1 to 8 long.
    """
    _check("layer_gains", H, num_leading=0)
    H_nnT = H.movedim((-2, -1), (0, 1))
    # [direction, output, input, ...]: direction 0 is H, direction 1 its transpose, so that rows serve both.
    both = torch.stack((H_nnT, H_nnT.transpose(0, 1)))
    sums = both.sum(2)
    amax = sums.abs().amax(1)
    error = sums.sub_(1.0).abs_().amax(1)
    negativity = both[0].amin((0, 1)).neg_().clamp_min_(0.0)
    norm = both.abs_().sum(2).amax(1)
    return LayerGains(amax[0], amax[1], norm[0], norm[1], error[0], error[1], negativity)


def composite_gains(H_LTnn: Tensor) -> CompositeGains:
    """Returns the gains of prefix and suffix products of `H_LTnn` [L, T, n, n] for each token.

    Products are kept normalised (largest entry near 1) beside an accumulated log scale, so 200 factors of
    gain 1,900 neither overflow nor vanish. A non-finite entry reaches the products of its own token only.

    Raises ShapeError unless `H_LTnn` has four axes, at least one layer, and 1 to 8 streams.
    """
    _check("composite_gains", H_LTnn, num_leading=2)
    num_tokens = H_LTnn.shape[1]
    product_LnnD, log_scale_LD = _scan(_both_directions(H_LTnn))
    sums_LnD = product_LnnD.sum(2)
    log_amax_LD = sums_LnD.abs().amax(1).log_() + log_scale_LD
    log_norm_LD = product_LnnD.abs().sum(2).amax(1).log_() + log_scale_LD

    prefix_LnnT, log_scale_LT = product_LnnD[..., :num_tokens], log_scale_LD[..., :num_tokens]
    scale_LT = log_scale_LT.exp().unsqueeze(1)
    row_LnT = sums_LnD[..., :num_tokens] * scale_LT
    column_LnT = prefix_LnnT.sum(1) * scale_LT
    return CompositeGains(
        log_amax_forward=log_amax_LD[:, :num_tokens],
        log_amax_backward=log_amax_LD[:, num_tokens:].flip(0),
        log_norm_inf=log_norm_LD[:, :num_tokens],
        log_norm_one=log_norm_LD[:, num_tokens:].flip(0),
        log_norm_two=_norm_two(prefix_LnnT.movedim(0, 2)).log_() + log_scale_LT,
        smallest_sum=torch.minimum(row_LnT.abs().amin(1), column_LnT.abs().amin(1)),
        row_error=row_LnT.sub_(1.0).abs_().amax(1),
        column_error=column_LnT.sub_(1.0).abs_().amax(1),
    )


def norm_two(M: Tensor) -> Tensor:
    """Returns the largest singular value of each matrix of `M` [..., n, n].

    By repeated squaring of M^T M: the error is at most 1e-3 (values so close that squaring cannot part
    them) and some 1e-6 where the second largest is 2 % away (derivation in the README).

    Raises ShapeError unless the last two axes are equal and 1 to 8 long.
    """
    _check("norm_two", M, num_leading=0)
    return _norm_two(M.movedim((-2, -1), (0, 1)))


def _check(name: str, H: Tensor, *, num_leading: int) -> None:
    shape = list(H.shape)
    fits = len(shape) >= 2 and shape[-1] == shape[-2] and 1 <= shape[-1] <= MAX_STREAMS
    if num_leading:
        fits = fits and len(shape) == 2 + num_leading and shape[0] >= 1
    if not fits:
        wanted = "[layers, tokens, n, n]" if num_leading else "[..., n, n]"
        raise ShapeError(f"{name} got shape {shape}; give {wanted} with n from 1 to {MAX_STREAMS}")


def _both_directions(H_LTnn: Tensor) -> Tensor:
    """Lays out [L, n, n, D]: layer l for the prefixes, beside it layer L-1-l transposed for the suffixes.

    S_l = S_(l+1) H_l, so S_l^T = H_l^T S_(l+1)^T: the suffixes are prefixes of the reversed, transposed list.
    """
    forward = H_LTnn.permute(0, 2, 3, 1)
    backward = H_LTnn.permute(0, 3, 2, 1).flip(0)
    return torch.cat((forward, backward), dim=-1)


def _scan(factors_LnnD: Tensor) -> tuple[Tensor, Tensor]:
    """Running products F_l .. F_0: matrices of largest entry near 1, and log scales [L, D]."""
    tiny = torch.finfo(factors_LnnD.dtype).tiny
    factor_scale_LD = factors_LnnD.abs().amax((1, 2)).clamp_min_(tiny)
    factors_LnnD = factors_LnnD / factor_scale_LD[:, None, None]
    product_LnnD = torch.empty_like(factors_LnnD)
    scale_LD = torch.ones_like(factor_scale_LD)
    product_LnnD[0] = factors_LnnD[0]
    for layer in range(1, len(factors_LnnD)):
        product_nnD = product_LnnD[layer]
        _multiply(factors_LnnD[layer], product_LnnD[layer - 1], out=product_nnD)
        if layer % LAYERS_PER_NORMALISATION == 0:
            torch.amax(product_nnD.abs(), (0, 1), out=scale_LD[layer])
            product_nnD /= scale_LD[layer].clamp_min_(tiny)
    log_scale_LD = factor_scale_LD.log_().add_(scale_LD.log_()).double().cumsum(0)
    return product_LnnD, log_scale_LD.to(factors_LnnD.dtype)


def _multiply(A_nnX: Tensor, B_nnX: Tensor, *, out: Tensor) -> None:
    """Matrix product over the two leading axes, one column of A at a time."""
    torch.mul(A_nnX[:, 0, None], B_nnX[None, 0], out=out)
    for inner in range(1, len(A_nnX)):
        out.addcmul_(A_nnX[:, inner, None], B_nnX[None, inner])


def _norm_two(M_nnX: Tensor) -> Tensor:
    """Largest singular value over the two leading axes, scaled so that no square overflows or vanishes."""
    tiny = torch.finfo(M_nnX.dtype).tiny
    scale_X = M_nnX.abs().amax((0, 1)).clamp_min_(tiny)
    M_nnX = (M_nnX / scale_X).contiguous()
    gram_nnX, power_nnX = torch.empty_like(M_nnX), torch.empty_like(M_nnX)
    _multiply(M_nnX.transpose(0, 1), M_nnX, out=gram_nnX)
    gram_trace_X = _trace(gram_nnX).clamp_min_(tiny)
    gram_nnX /= gram_trace_X
    power_nnX.copy_(gram_nnX)
    spare_nnX = M_nnX
    for squaring in range(NUM_SQUARINGS):
        _multiply(power_nnX, power_nnX, out=spare_nnX)
        power_nnX, spare_nnX = spare_nnX, power_nnX
        if (squaring + 1) % SQUARINGS_PER_NORMALISATION == 0:
            power_nnX /= _trace(power_nnX).clamp_min_(tiny)
    largest_X = torch.mul(power_nnX, gram_nnX, out=spare_nnX).sum((0, 1))
    return largest_X.mul_(gram_trace_X).sqrt_().mul_(scale_X)


def _trace(M_nnX: Tensor) -> Tensor:
    return M_nnX.diagonal(dim1=0, dim2=1).sum(-1)


def scan_dtype(H: Tensor) -> torch.dtype:
    """What the gains of `H` are computed in: float32 at least."""
    return torch.promote_types(H.dtype, torch.float32)


def singular_values(M_nnX: Tensor) -> Tensor:
    """All singular values [n, X], largest first: LAPACK's, which refuses what is not finite (there NaN)."""
    M_Xnn = M_nnX.movedim(-1, 0)
    is_finite_X = M_Xnn.isfinite().all(-1).all(-1)
    if len(M_nnX) == 1:  # without LAPACK, for which a GPU would be waited for
        return M_nnX[0].abs().where(is_finite_X, torch.nan)
    values_Xn: Tensor = torch.linalg.svdvals(M_Xnn.where(is_finite_X[:, None, None], 0.0))
    return values_Xn.where(is_finite_X[:, None], torch.nan).mT


def reduced_gains(H_LTnn: Tensor, singular_values: Callable[[Tensor], Tensor] = singular_values) -> Tensor:
    """Returns mean and maximum over tokens of the composites' gains, [n + 8, L, 2].

    Of the prefix: log amax forward, log norm_inf, row and column log-sum deviation, the number of
    negative sums, log stream collapse, n log singular values; of the suffix: log amax backward, log norm_one.
    """
    H_LTnn = H_LTnn.to(scan_dtype(H_LTnn))
    num_layers, num_tokens, num_streams = H_LTnn.shape[:3]
    product_LnnD, log_scale_LD = _scan(_both_directions(H_LTnn))
    log_amax_LD = product_LnnD.sum(2).abs().amax(1).log_() + log_scale_LD
    log_norm_LD = product_LnnD.abs().sum(2).amax(1).log_() + log_scale_LD
    P_LnnT, log_scale_LT = product_LnnD[..., :num_tokens], log_scale_LD[:, :num_tokens]
    row_LnT, column_LnT = P_LnnT.sum(2), P_LnnT.sum(1)
    num_negative_LT = (torch.cat((row_LnT, column_LnT), 1) < 0).to(H_LTnn.dtype).sum(1)
    # J/n P and P J/n have the columns' and rows' means for entries.
    mean_LT = row_LnT.sum(1) / num_streams**2
    centred_LnnT = P_LnnT - (row_LnT.unsqueeze(2) + column_LnT.unsqueeze(1)) / num_streams
    centred_LnnT += mean_LT[:, None, None]
    both_nnX = torch.stack((P_LnnT, centred_LnnT)).permute(2, 3, 0, 1, 4).flatten(2)
    values_n2LT = singular_values(both_nnX).reshape(num_streams, 2, num_layers, num_tokens).log()
    values_GLT = torch.stack(
        (
            log_amax_LD[:, :num_tokens],
            log_norm_LD[:, :num_tokens],
            _deviation(row_LnT, log_scale_LT),
            _deviation(column_LnT, log_scale_LT),
            # What is NaN has no sign, and must not pass for positive.
            num_negative_LT + 0.0 * mean_LT,
            values_n2LT[0, 1] + log_scale_LT,
            *(values_n2LT[:, 0] + log_scale_LT).unbind(),
            log_amax_LD[:, num_tokens:].flip(0),
            log_norm_LD[:, num_tokens:].flip(0),
        )
    )
    return torch.stack((values_GLT.mean(-1), values_GLT.amax(-1)), dim=-1)


def _deviation(sums_LnT: Tensor, log_scale_LT: Tensor) -> Tensor:
    """max |log max(|sum|, tiny)|, whatever the scale."""
    log_LnT = sums_LnT.abs().log_() + log_scale_LT.unsqueeze(1)
    return log_LnT.clamp_min_(math.log(torch.finfo(torch.float32).tiny)).abs_().amax(1)
