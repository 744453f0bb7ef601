"""The fused gain scan against the reference in float64, and its cost."""

import math

import pytest
import torch
from tests.kernels.on_device.conftest import IS_INTERPRETED
from torch import Tensor

from foreshock.kernels import Gain, Reduced, gain, use_backend
from foreshock.kernels.gain_scan import operator


def random_matrices(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def truth(H_LTnn: Tensor) -> Gain:
    with use_backend("reference"):
        return gain(H_LTnn.cpu().double())


def flat(found: Gain) -> dict[str, Reduced]:
    named = {
        name: getattr(found, name) for name in found.__dataclass_fields__ if name != "log_singular_values"
    }
    return named | {f"log_sigma_{i}": value for i, value in enumerate(found.log_singular_values)}


def check(H_LTnn: Tensor, *, atol: float) -> None:
    mine, true = flat(gain(H_LTnn)), flat(truth(H_LTnn))
    for name, expected in true.items():
        # The smallest values carry the product's own rounding, relative to the largest.
        allowed = 100 * atol if "sigma" in name or "collapse" in name else atol
        # The logarithm of a sum that has cancelled to a ten-thousandth
        allowed = 1000 * atol if "deviation" in name else allowed
        for reduction in ("mean", "max"):
            value, wanted = getattr(mine[name], reduction), getattr(expected, reduction)
            torch.testing.assert_close(
                value.cpu().double(), wanted, rtol=1e-5, atol=allowed, msg=lambda t, n=name: f"{n}: {t}"
            )


@pytest.mark.parametrize(
    ("num_layers", "num_tokens", "num_streams"),
    [(1, 3, 4), (5, 33, 4), (1, 300, 2), (3, 7, 2), (2, 40, 3), (2, 5, 1)]
    + [
        pytest.param(*shape, marks=pytest.mark.grid)
        for shape in [(48, 63, 4), (2, 1024, 4), (2, 5, 5), (3, 6, 8), (1, 5, 7), (1, 3, 6)]
    ],
)
def test_it_agrees_with_float64(
    num_layers: int, num_tokens: int, num_streams: int, device: torch.device
) -> None:
    H_LTnn = random_matrices(num_layers, num_tokens, num_streams, num_streams)
    if num_layers > 10:
        # Products of wild matrices lose their smaller singular values, and sums that cancel, to rounding.
        H_LTnn = 1.05 * torch.eye(num_streams) + 0.05 * torch.softmax(2.0 * H_LTnn, dim=-1)
    check(H_LTnn.to(device), atol=2e-5)


def test_products_that_overflow_are_followed(device: torch.device) -> None:
    mixing = torch.softmax(random_matrices(1, 3, 2, 2), dim=-1) * 1.9e3
    H_LTnn = mixing.expand(14, 3, 2, 2).contiguous().to(device)
    found = gain(H_LTnn)
    expected = torch.arange(1, 15) * math.log(1.9e3)
    torch.testing.assert_close(found.log_amax_forward.mean.cpu(), expected.float(), rtol=1e-5, atol=1e-4)
    assert found.log_norm_one.max.isfinite().all()


def test_forward_and_backward_are_told_apart(device: torch.device) -> None:
    first, second = torch.tensor([[1.0, 5.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [7.0, 1.0]])
    found = gain(torch.stack((first, second)).unsqueeze(1).to(device))
    # second @ first = [[1, 5], [7, 36]]; first @ second would be [[36, 5], [7, 1]].
    assert found.log_amax_forward.max.exp().tolist() == pytest.approx([6.0, 43.0], rel=1e-5)
    assert found.log_amax_backward.max.exp().tolist() == pytest.approx([41.0, 8.0], rel=1e-5)


def test_a_bad_entry_is_seen_from_its_layer_on(device: torch.device) -> None:
    H_LTnn = random_matrices(4, 35, 2, 2)
    clean = gain(H_LTnn.to(device))
    H_LTnn[2, 33, 1, 0] = torch.nan
    found = gain(H_LTnn.to(device))
    for name, reduced in flat(found).items():
        is_backward = name in ("log_amax_backward", "log_norm_one")
        bad, good = (slice(0, 3), slice(3, 4)) if is_backward else (slice(2, 4), slice(0, 2))
        for reduction in ("mean", "max"):
            assert getattr(reduced, reduction)[bad].isnan().all(), name
            before = getattr(flat(clean)[name], reduction)[good]
            torch.testing.assert_close(getattr(reduced, reduction)[good], before)


def test_a_repeated_launch_gives_the_same_bits(device: torch.device) -> None:
    H_LTnn = random_matrices(2, 70, 2, 2).to(device)
    first, second = (torch.stack([*gain(H_LTnn).log_norm_two.mean]) for _ in range(2))
    assert torch.equal(first, second)


def test_it_passes_opcheck_and_compiles(device: torch.device) -> None:
    H_LTnn = random_matrices(2, 3, 2, 2).to(device)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(operator.gain_scan, (H_LTnn, "triton"), test_utils=tests)
    compiled = torch.compile(lambda H: gain(H * 2.0).log_norm_two.max, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(H_LTnn), gain(H_LTnn * 2.0).log_norm_two.max)


@pytest.mark.skipif(not IS_INTERPRETED, reason="bytes are counted by the interpreter")
def test_the_bytes_are_those_of_the_table() -> None:
    from tests.kernels.triton_harness.traffic import counted

    num_layers, num_tokens = 2, 40
    with counted() as traffic:
        operator.gain_scan(random_matrices(num_layers, num_tokens, 4, 4), "triton")
    # Two programs' sums and maxima; the last program to finish reads them and writes the result.
    num_bytes = num_layers * (4 + 8) * 2 * 4
    assert traffic.loaded_bytes == 2 * 64 * num_layers * num_tokens + 2 * num_bytes
    assert traffic.stored_bytes == 3 * num_bytes
