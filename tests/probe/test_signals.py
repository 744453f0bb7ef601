"""Every signal against an independent formulation in float64, with asymmetric matrices."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreshock.probe import attach
from foreshock.probe.observers import mixing as observers_mixing
from foreshock.reference_models.transformer import ModelConfig, Transformer
from foreshock.wire import parse_column

RELATIVE = 2e-4


def matrix_products(matrices_LKnn: np.ndarray, *, backward: bool) -> np.ndarray:
    """Prefixes H_l .. H_0, or suffixes H_(L-1) .. H_l, per token, in float64."""
    count = len(matrices_LKnn)
    products = []
    for layer in range(count):
        factors = matrices_LKnn[layer:] if backward else matrices_LKnn[: layer + 1]
        product = np.broadcast_to(np.eye(matrices_LKnn.shape[-1]), matrices_LKnn[0].shape)
        for factor in factors:
            product = factor @ product
        products.append(product)
    return np.stack(products)


def expected_layer(matrices_LTnn: np.ndarray) -> dict[str, np.ndarray]:
    rows, columns = matrices_LTnn.sum(-1), matrices_LTnn.sum(-2)
    magnitude = np.abs(matrices_LTnn)
    return {
        "amax_forward": np.abs(rows).max(-1),
        "amax_backward": np.abs(columns).max(-1),
        "norm_inf": magnitude.sum(-1).max(-1),
        "norm_one": magnitude.sum(-2).max(-1),
        "norm_two": np.linalg.svd(matrices_LTnn, compute_uv=False)[..., 0],
        "row_error": np.abs(rows - 1).max(-1),
        "column_error": np.abs(columns - 1).max(-1),
        "negativity": np.maximum(0, -matrices_LTnn.min((-2, -1))),
        "smallest_sum": np.minimum(np.abs(rows).min(-1), np.abs(columns).min(-1)),
    }


@pytest.fixture
def recorded(
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    read_spool: Callable[..., Any],
    tmp_path: Path,
) -> tuple[np.ndarray, Any, torch.Tensor]:
    """Matrices [L, B, S, n, n] of the one step that was recorded, its series, and its loss."""
    model = make_model()
    matrices = torch.stack([layer.matrices_BSnn.detach().clone() for layer in model.layers])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, total_steps=10)
    loss = train_step(model, optimizer, clip=0.01)
    probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    return matrices.double().numpy(), read_spool(probe), loss


def test_layer_gains_over_all_tokens(recorded: tuple[np.ndarray, Any, torch.Tensor]) -> None:
    matrices, spooled, _ = recorded
    flat = matrices.reshape(len(matrices), -1, 4, 4)
    expected = expected_layer(flat)
    for name in ("amax_forward", "amax_backward", "norm_inf", "norm_one", "row_error", "column_error"):
        for layer in range(len(flat)):
            mean, largest = expected[name][layer].mean(), expected[name][layer].max()
            assert spooled.series[f"layer_{name}_mean[{layer}]"][0] == pytest.approx(mean, rel=RELATIVE)
            assert spooled.series[f"layer_{name}_max[{layer}]"][0] == pytest.approx(largest, rel=RELATIVE)
    for layer in range(len(flat)):
        negativity = expected["negativity"][layer].max()
        assert spooled.series[f"layer_negativity_max[{layer}]"][0] == pytest.approx(negativity, rel=RELATIVE)


@pytest.mark.parametrize("connection", ["mhc", "mhc_v4"])
def test_a_mixing_that_tells_its_statistics_is_not_measured_again(
    connection: str, read_spool: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Transformer(ModelConfig.sized(connection, 1, width=32, context=16))
    mixings = [layer.mixing for layer in model.layers]
    with torch.no_grad():
        for seed, mixing in enumerate(mixings):
            # Wide logits, so that neither axis is exact.
            bias = mixing.bias if connection == "mhc" else mixing.base
            bias.normal_(std=4.0, generator=torch.Generator().manual_seed(seed))
            mixing.iterations = 1
    kept: list[np.ndarray] = []
    for mixing in mixings:
        mixing.register_forward_hook(lambda _, __, out: kept.append(out[2].detach().double().numpy()))
    monkeypatch.delattr(observers_mixing, "layer_gains")
    probe = attach(model, mode="offline", directory=tmp_path, total_steps=10)
    loss = model.loss(torch.arange(2 * 17).reshape(2, 17) % 250)
    loss.backward()
    probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    spooled = read_spool(probe)
    for layer, matrices in enumerate(kept):
        expected = expected_layer(matrices.reshape(-1, 4, 4))
        assert expected["column_error"].max() > 0.1 > expected["row_error"].max()
        for name in ("amax_forward", "amax_backward", "norm_inf", "norm_one", "column_error", "negativity"):
            largest = spooled.series[f"layer_{name}_max[{layer}]"][0]
            assert largest == pytest.approx(expected[name].max(), rel=RELATIVE)
        mean = spooled.series[f"layer_column_error_mean[{layer}]"][0]
        assert mean == pytest.approx(expected["column_error"].mean(), rel=RELATIVE)
    probe.detach()
    assert not any(mixing.watches_statistics for mixing in mixings)


def test_composites_over_all_but_the_first_tokens(recorded: tuple[np.ndarray, Any, torch.Tensor]) -> None:
    matrices, spooled, _ = recorded
    sampled = matrices[:, :, 1:].reshape(len(matrices), -1, 4, 4)
    prefix = expected_layer(matrix_products(sampled, backward=False))
    suffix = expected_layer(matrix_products(sampled, backward=True))
    expected = {
        "composite_amax_forward": prefix["amax_forward"],
        "composite_amax_backward": suffix["amax_backward"],
        "composite_norm_inf": prefix["norm_inf"],
        "composite_norm_one": suffix["norm_one"],
        "composite_norm_two": prefix["norm_two"],
        "composite_row_error": prefix["row_error"],
        "composite_column_error": prefix["column_error"],
        "composite_smallest_sum": prefix["smallest_sum"],
        "layer_norm_two": expected_layer(sampled)["norm_two"],
        "log_gain_per_layer": np.log(prefix["norm_inf"]) / np.arange(1, 6)[:, None],
    }
    expected |= {
        f"log_{name}": np.log(expected[name]) for name in list(expected) if name.startswith("composite_")
    }
    checked = 0
    for column, points in spooled.series.items():
        name, _, layer = column.removesuffix("]").partition("[")
        stem, _, reduction = name.rpartition("_")
        if stem in expected and layer:
            values = expected[stem][int(layer)]
            wanted = getattr(values, reduction)()
            assert points[0] == pytest.approx(wanted, rel=1e-3, abs=2e-4), column
            checked += 1
    assert checked == len(spooled.series) - len([c for c in spooled.series if not _is_composite(c)])


def _is_composite(column: str) -> bool:
    signal = parse_column(column).signal
    return signal is not None and signal.cadence == "composite"


def test_loss_gradient_and_clipping(recorded: tuple[np.ndarray, Any, torch.Tensor]) -> None:
    _, spooled, loss = recorded
    series = spooled.series
    assert series["loss"][0] == pytest.approx(float(loss))
    assert series["learning_rate"][0] == 0.25
    assert series["step_skipped"][0] == 0
    assert series["grad_norm"][0] > 0.01
    assert series["grad_norm_clipped"][0] == pytest.approx(0.01, rel=1e-3)
    assert series["clip_coefficient"][0] == pytest.approx(0.01 / series["grad_norm"][0], rel=1e-3)
    assert 0 < series["canary_grad_norm"][0] < series["grad_norm"][0]


def test_gradient_norms_without_clipping_are_those_of_the_gradients(
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    read_spool: Callable[..., Any],
    tmp_path: Path,
) -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path)
    probe.step(train_step(model, optimizer, clip=None))
    probe.finish()
    series = read_spool(probe).series
    gradients = [parameter.grad.double() for parameter in model.parameters()]
    total = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    canary = float(model.layers[0].matrices_BSnn.grad.double().norm())
    assert series["grad_norm"][0] == pytest.approx(total, rel=1e-5)
    assert series["grad_norm_clipped"][0] == pytest.approx(total, rel=1e-5)
    assert series["clip_coefficient"][0] == 1.0
    assert series["canary_grad_norm"][0] == pytest.approx(canary, rel=1e-5)


def test_gradients_that_a_closure_computes_are_those_of_its_step(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    optimizer = torch.optim.SGD(loop.model.parameters(), lr=0.1)
    probe = attach(loop.model, optimizer, mode="offline", directory=tmp_path)
    norms = []
    for scale in (1.0, 100.0):

        def closure(scale: float = scale) -> torch.Tensor:
            optimizer.zero_grad()
            loss = scale * loop.model(torch.zeros(2, 9, dtype=torch.long)).square().mean()
            loss.backward()
            return loss

        probe.step(optimizer.step(closure))
        gradients = [one.grad.double() for one in loop.model.parameters()]
        norms.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))
    probe.finish()
    series = read_spool(probe).series
    assert series["grad_norm"] == {step: pytest.approx(norm, rel=1e-5) for step, norm in enumerate(norms)}
    assert series["update_ratio"][0] > 0 and series["update_cosine"][0] == pytest.approx(1.0, rel=1e-4)
    assert not probe.faults.counts


def test_stream_size_and_headroom(
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    read_spool: Callable[..., Any],
    tmp_path: Path,
) -> None:
    model = make_model()
    model.stream_dtype = torch.float16
    seen: list[torch.Tensor] = []
    for layer in model.layers:
        layer.register_forward_hook(lambda module, args, output: seen.append(args[0].detach().double()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path)
    probe.step(train_step(model, optimizer))
    model.stream_dtype = torch.float32
    probe.step(train_step(model, optimizer))
    probe.finish()
    series, seen = read_spool(probe).series, seen[: len(model.layers)]
    gained = series["headroom_bits"][1] - series["headroom_bits"][0]
    assert gained == pytest.approx(128 - 16, abs=1.0)
    for layer, x_BSnC in enumerate(seen):
        sample = x_BSnC[:, 1:]
        assert series[f"stream_rms[{layer}]"][0] == pytest.approx(float((sample**2).mean().sqrt()), rel=1e-5)
        assert series[f"stream_max[{layer}]"][0] == pytest.approx(float(sample.abs().max()), rel=1e-6)
    largest = max(float(x_BSnC[:, 1:].abs().max()) for x_BSnC in seen)
    assert series["headroom_bits"][0] == pytest.approx(math.log2(65504 / largest), rel=1e-4)
    embedded = seen[0][:, :, 0]
    assert series["canary_embedding_rms"][0] == pytest.approx(float((embedded**2).mean().sqrt()), rel=1e-5)
    assert series["canary_embedding_max"][0] == pytest.approx(float(embedded.abs().max()), rel=1e-6)


def test_a_transposed_matrix_swaps_forward_and_backward(
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    read_spool: Callable[..., Any],
    tmp_path: Path,
) -> None:
    row_heavy = torch.eye(4)
    row_heavy[0] = 1.0
    recordings = []
    for name, matrix in (("rows", row_heavy), ("columns", row_heavy.T)):
        model = make_model(matrix.expand(3, 2, 9, 4, 4).clone())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        probe = attach(model, optimizer, name=name, mode="offline", directory=tmp_path, total_steps=5)
        probe.step(train_step(model, optimizer))
        probe.finish()
        recordings.append(read_spool(probe).series)
    rows, columns = recordings
    assert rows["layer_amax_forward_mean[1]"][0] == columns["layer_amax_backward_mean[1]"][0] == 4.0
    assert rows["layer_amax_backward_mean[1]"][0] == columns["layer_amax_forward_mean[1]"][0] == 2.0
    assert rows["composite_amax_forward_mean[2]"][0] == pytest.approx(10.0, rel=1e-5)
    assert rows["composite_amax_backward_mean[0]"][0] == pytest.approx(4.0, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_matrices_are_recorded_as_such(
    bad: float,
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    read_spool: Callable[..., Any],
    tmp_path: Path,
) -> None:
    model = make_model()
    with torch.no_grad():
        model.layers[2].matrices_BSnn[0, 3, 1, 2] = bad
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, total_steps=3)
    probe.step(train_step(model, optimizer))
    probe.finish()
    series = read_spool(probe).series
    assert not probe.faults.counts
    assert not math.isfinite(series["layer_norm_inf_max[2]"][0])
    assert math.isfinite(series["layer_norm_inf_max[1]"][0])
    assert not math.isfinite(series["composite_norm_inf_max[4]"][0])
    assert math.isfinite(series["composite_norm_inf_max[1]"][0])
    assert math.isnan(series["loss"][0])
    assert series["headroom_bits"][0] == -math.inf


def test_a_deep_product_overflows_float32_but_not_its_logarithm(
    make_model: Callable[..., Any],
    train_step: Callable[..., Any],
    read_spool: Callable[..., Any],
    tmp_path: Path,
) -> None:
    matrices = (1.9e3 * torch.eye(2)).expand(200, 1, 3, 2, 2).clone()
    model = make_model(matrices)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, total_steps=3)
    probe.step(train_step(model, optimizer))
    probe.finish()
    series = read_spool(probe).series
    assert series["composite_norm_inf_mean[199]"][0] == math.inf
    assert series["log_composite_norm_inf_mean[199]"][0] == pytest.approx(200 * math.log(1.9e3), rel=1e-5)
    assert series["log_gain_per_layer_mean[199]"][0] == pytest.approx(math.log(1.9e3), rel=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_statistics_are_asked_for_only_in_steps_that_record_them(
    compiled: bool, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    """But a compiled graph is left as it is: another flag would be another graph."""
    model = Transformer(ModelConfig.sized("mhc", 1, width=32, context=16))
    call = torch.compile(model, backend="aot_eager") if compiled else model
    probe = attach(call, mode="offline", directory=tmp_path, budget=None)
    probe._instruments.clock.every["step"] = 3  # as a budget stretches it
    tokens = torch.arange(2 * 16).reshape(2, 16)
    asked = []
    for _ in range(7):
        asked.append({layer.mixing.watches_statistics for layer in model.layers})
        loss = call(tokens).square().mean()
        loss.backward()
        probe.step(loss)
    probe.finish()
    assert not probe.faults.counts
    assert asked == [{compiled or step % 3 == 0} for step in range(7)]
    series = read_spool(probe).series
    for name in ("layer_amax_forward_max[0]", "logit_range_max[1]"):
        assert list(series[name]) == [0, 3, 6]
