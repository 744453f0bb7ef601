"""Sinkhorn on CPUs: scales of rows and columns instead of matrices, and their exact gradient.

Every iterate is a_i K_ij b_j with K the softmax after the first column step, so a half step only has to find
one of the vectors a and b. The gradient goes back over the same half steps, of which the vectors are kept.
A token whose logits range over more than 60 nats, or are not finite, takes logarithms, and no other token
does; `v4` never needs them, since its entries stay above 1e-6.

Shape suffixes: n rows (a) and columns (b) of a matrix, T matrices, which come last: sums run along memory.
`rows_first` and `v4` are the same loop on the transposed matrix. Derivation: README.
"""

import torch
from torch import Tensor

from foreshock.kernels.sinkhorn_knopp import reference
from foreshock.kernels.sinkhorn_knopp.reference import V4_EPSILON, WIDE_NATS, Convention
from foreshock.kernels.sinkhorn_knopp.statistics import measure


def forward(
    logits_Tnn: Tensor, num_iterations: int, convention: Convention, return_statistics: bool
) -> tuple[Tensor, Tensor]:
    """Returns the matrices, and their statistics [5, 2] ([0, 2] unless asked for)."""
    given_nnT = _token_last(logits_Tnn, convention)
    logits_nnT, wide_T, range_T = _narrow(given_nnT, convention)
    epsilon = _epsilon(convention)
    K_nnT = _first_columns(logits_nnT, epsilon)
    a_nT, b_nT = _scales(K_nnT, num_iterations, epsilon)[-1]
    result_nnT = K_nnT.mul_(a_nT.unsqueeze(1)).mul_(b_nT)
    if len(wide_T):
        wide_nnT = reference.lift_empty_lines(given_nnT[..., wide_T])
        result_nnT[..., wide_T] = reference.alternate(wide_nnT, num_iterations)
    statistics_S2 = result_nnT.new_empty((0, 2), dtype=torch.float32)
    if return_statistics:
        statistics_S2 = measure(given_nnT, _turned(result_nnT, convention), range_T)
    return _token_first(result_nnT, convention, logits_Tnn.dtype), statistics_S2


def backward(logits_Tnn: Tensor, grad_Tnn: Tensor, num_iterations: int, convention: Convention) -> Tensor:
    """Returns the gradient of the logits."""
    given_nnT, grad_nnT = _token_last(logits_Tnn, convention), _token_last(grad_Tnn, convention)
    logits_nnT, wide_T, _range = _narrow(given_nnT, convention)
    result_nnT = _reverse(grad_nnT.clone(), logits_nnT, num_iterations, _epsilon(convention))
    if len(wide_T):
        result_nnT[..., wide_T] = _reverse_logarithms(
            grad_nnT[..., wide_T], given_nnT[..., wide_T], num_iterations
        )
    if logits_nnT is not given_nnT:
        # What stood for a line wholly at -inf is a constant.
        result_nnT.masked_fill_(given_nnT == -torch.inf, 0.0)
    return _token_first(result_nnT, convention, logits_Tnn.dtype)


def _epsilon(convention: Convention) -> float:
    return V4_EPSILON if convention == "v4" else 0.0


def _token_last(value_Tnn: Tensor, convention: Convention) -> Tensor:
    """[n, n, T] in float32 at least, turned so that each convention is columns first, rows last."""
    order = (1, 2, 0) if convention == "paper" else (2, 1, 0)
    wide = torch.promote_types(value_Tnn.dtype, torch.float32)
    return value_Tnn.permute(order).to(wide).contiguous()


def _turned(value_nnT: Tensor, convention: Convention) -> Tensor:
    return value_nnT if convention == "paper" else value_nnT.transpose(0, 1)


def _token_first(value_nnT: Tensor, convention: Convention, dtype: torch.dtype) -> Tensor:
    return _turned(value_nnT, convention).permute(2, 0, 1).to(dtype).contiguous()


def _narrow(given_nnT: Tensor, convention: Convention) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits that the exp domain can take, the indices of those (then 0) that it cannot, and their range.

    The range [T] is None where nobody had to ask for it.
    """
    if convention == "v4":
        is_lifted = bool((given_nnT == -torch.inf).any())
        none_T = torch.empty(0, dtype=torch.int64)
        return reference.lift_empty_lines(given_nnT) if is_lifted else given_nnT, none_T, None
    flat_MT = given_nnT.flatten(0, 1)
    range_T = flat_MT.amax(0) - flat_MT.amin(0)
    is_wide_T = ~(range_T <= WIDE_NATS)
    wide_T = is_wide_T.nonzero().squeeze(1)
    return given_nnT.masked_fill(is_wide_T, 0.0) if len(wide_T) else given_nnT, wide_T, range_T


def _first_columns(logits_nnT: Tensor, epsilon: float) -> Tensor:
    """K: logits after the first column step, a softmax."""
    K_nnT = (logits_nnT - logits_nnT.amax(0)).exp_()
    K_nnT.mul_(K_nnT.sum(0).reciprocal_())
    return K_nnT.add_(epsilon) if epsilon else K_nnT


def _scales(K_nnT: Tensor, num_iterations: int, epsilon: float) -> list[tuple[Tensor, Tensor]]:
    """The pairs (a, b) after the first row step and after each iteration that follows."""
    scratch_nnT = torch.empty_like(K_nnT)
    ones_nT = torch.ones_like(K_nnT[0])
    pairs = [(_scale(K_nnT.sum(1), ones_nT, epsilon), ones_nT)]
    for _ in range(num_iterations - 1):
        a_nT, b_nT = pairs[-1]
        mass_nT = torch.mul(K_nnT, a_nT.unsqueeze(1), out=scratch_nnT).sum(0)
        b_nT = _scale(mass_nT, b_nT, epsilon)
        mass_nT = torch.mul(K_nnT, b_nT, out=scratch_nnT).sum(1)
        pairs.append((_scale(mass_nT, a_nT, epsilon), b_nT))
    return pairs


def _scale(mass_nT: Tensor, before_nT: Tensor, epsilon: float) -> Tensor:
    """The scales after a half step, whose lines weigh `mass` without them; takes over `mass`."""
    if epsilon:
        return before_nT / mass_nT.mul_(before_nT).add_(epsilon)
    return mass_nT.reciprocal_()


def _reverse(grad_nnT: Tensor, logits_nnT: Tensor, num_iterations: int, epsilon: float) -> Tensor:
    """The gradient of the logits; takes over `grad`, in which that of K is collected.

    `da` and `db` are the gradients of log a and log b. A half step back leaves -da a_i b_j in that of K.
    """
    K_nnT = _first_columns(logits_nnT, epsilon)
    pairs = _scales(K_nnT, num_iterations, epsilon)
    a_nT, b_nT = pairs[-1]
    grad_nnT.mul_(a_nT.unsqueeze(1)).mul_(b_nT)
    weighted_nnT = grad_nnT * K_nnT
    da_nT, db_nT = weighted_nnT.sum(1), weighted_nnT.sum(0)
    scratch_nnT = weighted_nnT
    for (a_before_nT, b_before_nT), (a_nT, b_nT) in zip(
        reversed(pairs[:-1]), reversed(pairs[1:]), strict=True
    ):
        drawn_nT = da_nT * a_nT
        grad_nnT.addcmul_(drawn_nT.unsqueeze(1), b_nT, value=-1.0)
        db_nT = db_nT - torch.mul(K_nnT, drawn_nT.unsqueeze(1), out=scratch_nnT).sum(0).mul_(b_nT)
        drawn_nT = db_nT * b_nT
        grad_nnT.addcmul_(a_before_nT.unsqueeze(1), drawn_nT, value=-1.0)
        passed_nT = torch.mul(K_nnT, drawn_nT, out=scratch_nnT).sum(1).mul_(a_before_nT).neg_()
        if epsilon:
            passed_nT += da_nT * (a_nT / a_before_nT) * epsilon
            db_nT = db_nT * (b_nT / b_before_nT) * epsilon
        else:
            db_nT = torch.zeros_like(db_nT)
        da_nT = passed_nT
    a_nT, b_nT = pairs[0]
    grad_nnT.sub_((da_nT * a_nT).unsqueeze(1))
    # Back through the softmax, without the eps that v4 adds to it.
    share_nnT = K_nnT.sub_(epsilon) if epsilon else K_nnT
    weighted_nnT = torch.mul(share_nnT, grad_nnT, out=scratch_nnT)
    total_nT = weighted_nnT.sum(0)
    return weighted_nnT.addcmul_(share_nnT, total_nT, value=-1.0)


def _reverse_logarithms(grad_nnT: Tensor, given_nnT: Tensor, num_iterations: int) -> Tensor:
    """The same on logarithms, for logits of any range; a custom operator cannot ask autograd for it."""
    Z_nnT = reference.lift_empty_lines(given_nnT)
    a_nT = torch.zeros_like(Z_nnT[0])
    pairs = [(a_nT, a_nT)]
    for _ in range(num_iterations):
        b_nT = -torch.logsumexp(Z_nnT + a_nT.unsqueeze(1), 0)
        a_nT = -torch.logsumexp(Z_nnT + b_nT, 1)
        pairs.append((a_nT, b_nT))
    a_nT, b_nT = pairs[-1]
    result_nnT = grad_nnT * (Z_nnT + a_nT.unsqueeze(1) + b_nT).exp()
    da_nT, db_nT = result_nnT.sum(1), result_nnT.sum(0)
    for (a_before_nT, _), (a_nT, b_nT) in zip(reversed(pairs[:-1]), reversed(pairs[1:]), strict=True):
        share_nnT = da_nT.unsqueeze(1) * (Z_nnT + a_nT.unsqueeze(1) + b_nT).exp()
        result_nnT, db_nT = result_nnT - share_nnT, db_nT - share_nnT.sum(0)
        share_nnT = db_nT * (Z_nnT + a_before_nT.unsqueeze(1) + b_nT).exp()
        result_nnT, da_nT = result_nnT - share_nnT, -share_nnT.sum(1)
        db_nT = torch.zeros_like(db_nT)
    return result_nnT.masked_fill(given_nnT == -torch.inf, 0.0)
