"""Several forward passes of one step become one reading; checked in float64 against all tokens at once."""

import math

import pytest
import torch

from foreshock.kernels import SinkhornStatistics
from foreshock.probe.faults import Faults
from foreshock.probe.observers.mixed import Mixed
from foreshock.probe.observers.mixing import LAYER_GAINS, MixingObserver
from foreshock.probe.observers.visits import MAX_PASSES, Sizes, Visits
from foreshock.wire import MISSING, is_missing


def sizes_of(passes, *, num_layers=2):
    """What is written of these passes, each a list of streams by layer (None where a layer did not run)."""
    sizes = Sizes(num_layers, num_sampled_tokens=2**20)
    for streams in passes:
        for layer, stream in enumerate(streams):
            if stream is not None:
                sizes.take(layer, stream)
    written = torch.from_numpy(MISSING.repeat(2 * num_layers)).view(2, num_layers)
    sizes.write(*written)
    return written


def expected_sizes(streams):
    """RMS and largest magnitude without first tokens, in float64."""
    values = torch.cat([stream[:, 1:].double().reshape(-1) for stream in streams])
    return [values.square().mean().sqrt().item(), values.abs().max().item()]


def streams(seed, scale=1.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(2, 9, 3, 5, generator=generator)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("num_passes", [1, 2, 5])
def test_sizes_of_several_passes_are_those_of_all_their_tokens(num_passes, dtype):
    passes = [[streams(2 * n, 1.0 + n, dtype), streams(2 * n + 1, -3.0, dtype)] for n in range(num_passes)]
    written = sizes_of(passes)
    for layer in range(2):
        expected = expected_sizes([one[layer] for one in passes])
        assert written[:, layer].tolist() == pytest.approx(expected, rel=1e-6)


def test_a_layer_that_ran_less_often_or_never_is_told_by_itself():
    first, second, other = streams(0), streams(1, 4.0), streams(2, 2.0)
    written = sizes_of([[first, other, None], [second, None, None]], num_layers=3)
    assert written[:, 0].tolist() == pytest.approx(expected_sizes([first, second]), rel=1e-6)
    assert written[:, 1].tolist() == pytest.approx(expected_sizes([other]), rel=1e-6)
    assert is_missing(written[:, 2].numpy()).all()


def test_passes_of_another_size_than_the_last_are_left_out():
    first, second = streams(0), streams(1, 4.0)[:, :5]
    written = sizes_of([[first, second], [second, second]])
    assert written[:, 0].tolist() == pytest.approx(expected_sizes([second]), rel=1e-6)
    assert written[:, 1].tolist() == pytest.approx(expected_sizes([second]), rel=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_in_any_pass_is_seen(bad):
    broken = streams(0)
    broken[1, 4, 2, 1] = bad
    written = sizes_of([[broken, streams(1)], [streams(2), streams(3)]])
    assert written[:, 0].tolist() == pytest.approx([bad, bad], nan_ok=True)
    assert written[:, 1].isfinite().all()


def test_passes_beyond_the_bound_take_the_place_of_the_last():
    visits = Visits(1)
    for number in range(MAX_PASSES + 3):
        visits.add(0, number)
    ((layers, by_layer),) = visits.finish(lambda entry: None)
    assert (layers, by_layer) == (slice(0, 1), [[*range(MAX_PASSES - 1), MAX_PASSES + 2]])
    assert not list(visits.finish(lambda entry: None))


class Point:
    module = None

    def start(self):
        """Nothing to hook."""

    def close(self):
        """Nothing was hooked."""


def matrices(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 5, 3, 3, generator=generator)


def test_gains_of_several_passes_are_means_of_means_and_maxima_of_maxima(bench):
    observer = bench.start(
        MixingObserver([Point(), Point()], num_sampled_tokens=4, faults=Faults(strict=True))
    )
    passes = [(matrices(1), matrices(2)), (matrices(3), matrices(4)), (matrices(5), matrices(6))]
    for pair in passes:
        for layer, h_res in enumerate(pair):
            observer.write(layer, Mixed(None, h_res))
    bench.end_step()
    written = bench.read()
    for layer in range(2):
        h = torch.cat([pair[layer] for pair in passes]).double().reshape(-1, 3, 3)
        amax = h.sum(-1).abs().amax(-1)
        column_error = (h.sum(-2) - 1).abs().amax(-1)
        expected = {
            "layer_amax_forward_mean": amax.mean(),
            "layer_amax_forward_max": amax.max(),
            "layer_column_error_mean": column_error.mean(),
            "layer_column_error_max": column_error.max(),
            "layer_negativity_max": (-h).max(),
        }
        for name, value in expected.items():
            assert written[f"{name}[{layer}]"] == pytest.approx(value.item(), rel=1e-6), name


def told(seed):
    return SinkhornStatistics(torch.rand(5, 2, generator=torch.Generator().manual_seed(seed)))


def test_what_the_kernel_tells_of_several_passes_is_put_together_alike(bench):
    observer = bench.start(MixingObserver([Point()], num_sampled_tokens=4, faults=Faults(strict=True)))
    statistics = [told(1), told(2)]
    for one in statistics:
        observer.write(0, Mixed(None, matrices(1), statistics=one))
    bench.end_step()
    written = bench.read()
    kernel_names = {"layer_norm_inf": "amax_forward", "layer_norm_one": "amax_backward"}
    for name in (*LAYER_GAINS, "logit_range"):
        short = kernel_names.get(name, name.removeprefix("layer_"))
        means = [getattr(one, f"{short}_mean").item() for one in statistics]
        maxima = [getattr(one, f"{short}_max").item() for one in statistics]
        assert written[f"{name}_mean[0]"] == pytest.approx(sum(means) / 2, rel=1e-6), name
        assert written[f"{name}_max[0]"] == pytest.approx(max(maxima), rel=1e-6), name
    assert written["layer_negativity_max[0]"] == 0.0
