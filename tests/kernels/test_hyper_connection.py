"""The three steps of a hyper-connection against float64 autograd through the papers' formulas."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from foreshock.kernels import BackendError, OptionError, ShapeError, sinkhorn, use_backend
from foreshock.kernels.hyper_connection import Form, aggregate, coefficients, mix, operators

# Relative to the largest entry of the expected tensor; bf16 has 8 bits, fp16 11.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 1e-2, torch.float16: 1.5e-3, torch.float64: 1e-11}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Streams, tokens, width, dtype: every pair of values at least once; the full grid is `grid`.
PAIRS = [
    (4, 63, 64, torch.float32),
    (4, 100, 100, torch.bfloat16),
    (4, 1, 1280, torch.float16),
    (1, 63, 100, torch.float16),
    (1, 100, 64, torch.bfloat16),
    (2, 1, 100, torch.float32),
    (8, 100, 1280, torch.float32),
    (8, 63, 64, torch.bfloat16),
    (3, 300, 1280, torch.bfloat16),
    (5, 1, 64, torch.float16),
]
# Liger's own table: (B, T, HC, C) = (2, 4, 2, 32) and (1, 8, 4, 64); `inputs` has two sequences.
LIGER = [(n, tokens, width, dtype) for n, tokens, width in ((2, 4, 32), (4, 8, 64)) for dtype in DTYPES]
Layer = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _nan_filled_outputs() -> object:
    """Whatever an operator forgets to write shows as NaN."""
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


def layer_of(x: Tensor, projection: Tensor, bias: Tensor, gates: Tensor, form: Form = "mhc") -> Tensor:
    """A whole layer with tanh as its sub-layer."""
    h_pre, h_post, h_res = coefficients(x, projection, bias, gates, form=form)
    inside = aggregate(x, h_pre, out_dtype=torch.promote_types(x.dtype, torch.float32))
    return mix(x, torch.tanh(inside), h_res, h_post)


def inputs(
    n: int, tokens: int, width: int, dtype: torch.dtype = torch.float32, form: Form = "mhc", seed: int = 0
) -> list[Tensor]:
    """x, projection, bias and gates far from their start: logits of scale 4, nothing symmetric."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=generator) * scale

    num_res = n * n if n > 1 else 0
    rows, columns = (width, n + 2) if form == "hc" else (n * width, num_res + 2 * n)
    num_bias = n * n + 2 * n if form == "hc" else columns
    projection = draw(rows, columns, scale=rows**-0.5)
    return [draw(2, tokens, n, width).to(dtype), projection, draw(num_bias), torch.tensor([1.5, 2.0, 4.0])]


def with_gradients(layer: Layer, tensors: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The output and all gradients under a random cotangent."""
    leaves = [t.detach().to(dtype or t.dtype).requires_grad_() for t in tensors]
    out = layer(*leaves)
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    cotangent = cotangent.to(tensors[0].dtype).to(out)
    return [out.detach(), *torch.autograd.grad(out, leaves, cotangent)]


def assert_agrees(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        scale = other.abs().max().item() if other.numel() else 0.0
        torch.testing.assert_close(
            one.double(), other.double(), rtol=0, atol=tolerance * scale, msg=lambda m, i=index: f"{i}: {m}"
        )


def check_case(n: int, tokens: int, width: int, dtype: torch.dtype, form: Form) -> None:
    """Output and all gradients of a layer against float64."""
    given = inputs(n, tokens, width, dtype, form)
    with use_backend("reference"):
        expected = with_gradients(partial(layer_of, form=form), given, torch.float64)
    found = with_gradients(partial(layer_of, form=form), given)
    assert [t.dtype for t in found[1:]] == [t.dtype for t in given]
    assert_agrees(found, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("form", ["mhc", "hc"])
@pytest.mark.parametrize(("n", "tokens", "width", "dtype"), PAIRS + LIGER)
def test_values_and_gradients_are_those_of_float64(
    n: int, tokens: int, width: int, dtype: torch.dtype, form: Form
) -> None:
    check_case(n, tokens, width, dtype, form)


@pytest.mark.grid
@pytest.mark.parametrize("form", ["mhc", "hc"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [64, 100, 1280])
@pytest.mark.parametrize("tokens", [1, 63, 100])
@pytest.mark.parametrize("n", range(1, 9))
def test_values_and_gradients_on_the_full_grid(
    n: int, tokens: int, width: int, dtype: torch.dtype, form: Form
) -> None:
    check_case(n, tokens, width, dtype, form)


@pytest.mark.parametrize("form", ["mhc", "hc"])
@pytest.mark.parametrize("tokens", [512, 1000])
def test_many_tokens(tokens: int, form: Form) -> None:
    """Of two sequences, so 1024 and 2000 in all."""
    check_case(4, tokens, 100, torch.float32, form)


@pytest.mark.parametrize("form", ["mhc", "hc"])
def test_gradients_are_those_of_finite_differences(form: Form) -> None:
    given = [t.double().requires_grad_() for t in inputs(3, 2, 5, form=form)]
    assert torch.autograd.gradcheck(partial(layer_of, form=form), given)


def test_a_layer_is_what_the_formulas_say_entry_by_entry() -> None:
    x, phi, bias, gates = (t.double() for t in inputs(2, 1, 3))
    x_nC = x[0, 0]
    raw = (x_nC.flatten() / (x_nC.square().mean() + 1e-6).sqrt()) @ phi
    pre = 1 / (1 + torch.exp(-(gates[0] * raw[:2] + bias[:2])))
    post = 2 / (1 + torch.exp(-(gates[1] * raw[2:4] + bias[2:4])))
    res = sinkhorn((gates[2] * raw[4:] + bias[4:]).reshape(2, 2))
    out_C = torch.tanh(pre[0] * x_nC[0] + pre[1] * x_nC[1])
    expected = torch.stack([res[i, 0] * x_nC[0] + res[i, 1] * x_nC[1] + post[i] * out_C for i in range(2)])
    found = layer_of(*(t.float() for t in (x, phi, bias, gates)))
    torch.testing.assert_close(found[0, 0].double(), expected, rtol=1e-5, atol=1e-5)


def test_hyper_connections_are_applied_transposed() -> None:
    x, projection, bias, gates = inputs(2, 1, 3, form="hc")
    h_res = coefficients(x, projection, bias, torch.zeros_like(gates), form="hc").h_res
    assert torch.equal(h_res[0, 0], bias[4:].reshape(2, 2).T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_frozen_gates_on_one_stream_are_the_residual_bit_for_bit(dtype: torch.dtype) -> None:
    x, *_ = inputs(1, 7, 33, dtype)
    y = inputs(1, 7, 33, seed=4)[0].squeeze(-2)
    h_pre, h_post, h_res = coefficients(x, torch.empty(33, 0), torch.empty(0), torch.ones(3))
    assert all(torch.equal(h, torch.ones_like(h)) for h in (h_pre, h_post, h_res))
    assert torch.equal(aggregate(x, h_pre), x.squeeze(-2))
    assert torch.equal(mix(x, y, h_res, h_post), (x.float() + y.unsqueeze(-2)).to(dtype))


def test_live_gates_on_one_stream_leave_h_res_at_one_without_a_gradient() -> None:
    given = [t.requires_grad_() for t in inputs(1, 5, 8)]
    h_res = coefficients(*given).h_res
    assert torch.equal(h_res, torch.ones_like(h_res))
    assert not h_res.requires_grad


@pytest.mark.parametrize("convention", ["rows_first", "v4"])
def test_conventions_and_iterations_reach_sinkhorn(convention: str) -> None:
    x, projection, bias, gates = inputs(4, 5, 8)
    found = coefficients(x, projection, bias, gates, num_iterations=3, convention=convention)  # type: ignore[arg-type]
    assert_agrees([found.h_res.sum(-2)], [torch.ones(2, 5, 4)], 2e-5)
    assert (found.h_res.sum(-1) - 1).abs().max() > 1e-3


@pytest.mark.parametrize("form", ["mhc", "hc"])
def test_streams_in_any_memory_order_give_the_same(form: Form) -> None:
    x, *parameters = inputs(4, 6, 10, form=form)
    strided = x.permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    assert not strided.is_contiguous()
    expected = with_gradients(partial(layer_of, form=form), [x, *parameters])
    assert_agrees(with_gradients(partial(layer_of, form=form), [strided, *parameters]), expected, 1e-6)
    repeated = x[:, :1].expand(-1, 6, -1, -1)
    assert torch.equal(
        layer_of(repeated, *parameters, form=form), layer_of(repeated.contiguous(), *parameters, form=form)
    )


@pytest.mark.parametrize("form", ["mhc", "hc"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_tokens_are_no_trouble(dtype: torch.dtype, form: Form) -> None:
    found = with_gradients(partial(layer_of, form=form), inputs(4, 0, 16, dtype, form))
    assert found[0].shape == (2, 0, 4, 16)
    assert all(not t.any() for t in found[1:])


@pytest.mark.parametrize("form", ["mhc", "hc"])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_bad_number_stays_in_its_token(bad: float, form: Form) -> None:
    x, *parameters = inputs(4, 9, 12, form=form)
    spoilt = x.clone()
    spoilt[1, 3, 2, 5] = bad
    clean, found = (with_gradients(partial(layer_of, form=form), [t, *parameters])[:2] for t in (x, spoilt))
    others = torch.ones(2, 9, dtype=torch.bool)
    others[1, 3] = False
    for one, other in zip(found, clean, strict=True):
        assert torch.equal(one[others], other[others])
        assert not one[1, 3].isfinite().all()


def test_half_precision_overflows_to_infinity_and_coefficients_stay_float32() -> None:
    x = torch.full((1, 2, 4), 3e4, dtype=torch.float16)
    h_post, h_res = torch.ones(1, 2), torch.full((1, 2, 2), 5.0)
    assert mix(x, torch.zeros(1, 4), h_res, h_post).isinf().all()
    x, *parameters = inputs(4, 3, 8, torch.float16)
    assert {h.dtype for h in coefficients(x, *parameters)} == {torch.float32}


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("form", ["mhc", "hc"])
def test_statistics_of_h_res_come_with_the_coefficients(form: Form, n: int) -> None:
    given = inputs(n, 50, 8, form=form)
    found, statistics = coefficients(*given, form=form, num_iterations=3, return_statistics=True)
    for one, same in zip(found, coefficients(*given, form=form, num_iterations=3), strict=True):
        assert torch.equal(one, same)
    h_res = found.h_res.double()
    row_T, column_T = h_res.sum(-1).abs().amax(-1), h_res.sum(-2).abs().amax(-1)
    assert statistics.amax_forward_mean.item() == pytest.approx(row_T.mean().item(), rel=1e-5)
    assert statistics.amax_backward_max.item() == pytest.approx(column_T.max().item(), rel=1e-5)
    assert statistics.logit_range_max.isnan() == (form == "hc" or n == 1)


def operator_calls() -> list[tuple[Callable[..., object], tuple[object, ...]]]:
    x, projection, _, _ = inputs(4, 3, 8)
    y, pre, res = x[..., 0, :].contiguous(), x[..., 0].contiguous(), x[..., :4].contiguous()
    x, projection, y, pre, res = (t.detach().clone().requires_grad_() for t in (x, projection, y, pre, res))
    return [
        (operators.project, (x, projection, "cpu")),
        (operators.aggregate, (x, pre, torch.float32, "cpu")),
        (operators.mix, (x, y, res, pre, "cpu")),
    ]


@pytest.mark.parametrize(("operator", "arguments"), operator_calls(), ids=["project", "aggregate", "mix"])
def test_operators_pass_opcheck(operator: torch.library.CustomOpDef, arguments: tuple[object, ...]) -> None:
    torch.library.opcheck(operator, arguments)


@pytest.mark.parametrize("form", ["mhc", "hc"])
def test_compiling_breaks_no_graph(form: Form) -> None:
    given = inputs(4, 5, 16, form=form)
    layer = partial(layer_of, form=form)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert_agrees(with_gradients(compiled, given), with_gradients(layer, given), 1e-6)


def test_checkpointing_changes_no_bit() -> None:
    given = inputs(4, 5, 16)

    def recomputed(*leaves: Tensor) -> Tensor:
        out: Tensor = checkpoint(layer_of, *leaves, use_reentrant=False)
        return out

    for one, other in zip(with_gradients(recomputed, given), with_gradients(layer_of, given), strict=True):
        assert torch.equal(one, other)


def test_the_reference_is_taken_by_request_only() -> None:
    x = torch.zeros(1, 4, 8, requires_grad=True)
    h_pre = torch.ones(1, 4)
    assert "hyper_aggregate" in aggregate(x, h_pre).grad_fn.name()  # type: ignore[union-attr]
    with use_backend("reference"):
        assert "hyper_aggregate" not in aggregate(x, h_pre).grad_fn.name()  # type: ignore[union-attr]


def test_triton_without_a_gpu_is_refused_in_words() -> None:
    pytest.importorskip("triton")
    with use_backend("triton"), pytest.raises(BackendError, match="aggregate got a tensor on cpu"):
        aggregate(torch.zeros(1, 4, 8), torch.ones(1, 4))


X, PHI, BIAS, GATES = torch.zeros(2, 3, 4, 8), torch.zeros(32, 24), torch.zeros(24), torch.zeros(3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: coefficients(X[0, 0], PHI, BIAS, GATES), ShapeError, r"x of shape \[4, 8\].*1 to 8 streams"),
        (lambda: coefficients(torch.zeros(3, 9, 8), PHI, BIAS, GATES), ShapeError, r"\[3, 9, 8\].*1 to 8"),
        (
            lambda: coefficients(X.int(), PHI, BIAS, GATES),
            OptionError,
            "x of torch.int32; give a floating-point tensor: torch.fl",
        ),
        (lambda: coefficients(X, PHI.T, BIAS, GATES), ShapeError, r"\[24, 32\].*\[32, 24\] or \[32, 16\]"),
        (lambda: coefficients(X, PHI, BIAS, GATES, form="hc"), ShapeError, r"\[32, 24\].*hc takes \[8, 6\]"),
        (lambda: coefficients(X, PHI, BIAS[1:], GATES), ShapeError, r"bias of shape \[23\]; give \[24\]"),
        (lambda: coefficients(X, PHI, BIAS, GATES[1:]), ShapeError, r"gates of shape \[2\]; give \[3\]"),
        (lambda: coefficients(X, PHI.long(), BIAS, GATES), OptionError, "projection of torch.int64"),
        (
            lambda: coefficients(X, PHI, BIAS, GATES, form="lite"),
            OptionError,
            "'lite'; choose one of mhc, hc",
        ),
        (lambda: coefficients(X, PHI, BIAS.to("meta"), GATES), OptionError, "bias on meta.*move them to one"),
        (lambda: coefficients(X, PHI, BIAS, GATES, num_iterations=0), OptionError, "num_iterations=0"),
        (lambda: aggregate(X, X[..., 0, 0]), ShapeError, r"h_pre of shape \[2, 3\]; give \[2, 3, 4\]"),
        (lambda: aggregate(X.half(), X[..., 0].half()), OptionError, "h_pre of torch.float16.*torch.float32"),
        (
            lambda: aggregate(X, X[..., 0], out_dtype=torch.int8),
            OptionError,
            "out_dtype=torch.int8; give one",
        ),
        (lambda: mix(X, X, X[..., :4], X[..., 0]), ShapeError, r"y of shape .*; give \[2, 3, 8\]"),
        (lambda: mix(X, X[:, :, 0], X, X[..., 0]), ShapeError, r"h_res of shape .*; give \[2, 3, 4, 4\]"),
        (lambda: mix(X, X[:, :, 0], X[..., :4], X[0]), ShapeError, r"h_post of shape .*; give \[2, 3, 4\]"),
        (lambda: mix(X, X[:, :, 0].long(), X[..., :4], X[..., 0]), OptionError, "y of torch.int64"),
        (lambda: mix(X, None, X[..., :4], X[..., 0]), OptionError, "y of type NoneType"),
        (lambda: aggregate(X.to(torch.float8_e5m2), X[..., 0]), OptionError, "x of torch.float8_e5m2"),
        (lambda: coefficients(X, PHI.tolist(), BIAS, GATES), OptionError, "projection of type list"),
        (
            lambda: mix(X, X[:, :, 0].to_sparse(), X[..., :4], X[..., 0]),
            OptionError,
            "y of layout torch.sparse_coo",
        ),
    ],
)
def test_bad_input_is_told_with_what_is_allowed(
    call: Callable[[], object], error: type[ValueError], words: str
) -> None:
    with pytest.raises(error, match=words):
        call()
