"""The mixing matrices of a hyper-connection model, reduced where they are computed.

Legend: T tokens, K sampled tokens, n streams, C width, L layers.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn

from foreshock.kernels import MAX_STREAMS, SinkhornStatistics, composite_gains, layer_gains, norm_two
from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers import degeneracy
from foreshock.probe.observers.hooks import ForwardHooks
from foreshock.probe.observers.measures import TokenSample, size
from foreshock.probe.observers.observer import Columns, Places
from foreshock.wire import CATALOGUE, per_layer

# In the order in which they are written: the means over tokens, then the maxima
LAYER_GAINS: Final = (
    "layer_amax_forward",
    "layer_amax_backward",
    "layer_norm_inf",
    "layer_norm_one",
    "layer_row_error",
    "layer_column_error",
)
SLOW_SERIES: Final = (*degeneracy.CANCELLATION_SERIES, *degeneracy.LAYER_SERIES, "stream_first_max")
STREAM_SERIES: Final = ("stream_rms", "stream_max")
# The last two are written where the kernel that made H_res tells them
STEP_SERIES: Final = (
    *STREAM_SERIES,
    *(f"{name}_mean" for name in LAYER_GAINS),
    *(f"{name}_max" for name in LAYER_GAINS),
    "layer_negativity_max",
    "logit_range_mean",
    "logit_range_max",
)


def find_mixing(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that compute mixing matrices, in static layer order.

    Such a module has `is_stream_mixing = True`; its forward takes the streams x [B, S, n, C] and
    returns (h_pre, h_post, h_res) with h_res [B, S, n, n] applied as x'_i = sum_j h_res_ij x_j.

    One that also has `watches_statistics = False` is asked for more: the observer sets it to True, and
    finds the SinkhornStatistics of h_res in `statistics` after each forward, instead of a second pass.
    """
    return [
        (name, module) for name, module in model.named_modules() if getattr(module, "is_stream_mixing", False)
    ]


class TellingMixing(Protocol):
    """A mixing whose kernels hand out statistics of the h_res that they compute."""

    watches_statistics: bool
    statistics: SinkhornStatistics | None


class MixingObserver:
    """Reduces every layer's H_res to gains over all tokens, and its input stream over a sample.

    While the sheet `composite` is due, each layer's matrices of the sampled tokens are kept for the
    composites, which need all layers at once.
    """

    def __init__(self, modules: Sequence[nn.Module], *, num_sampled_tokens: int, faults: Faults) -> None:
        self._modules, self._faults = modules, faults
        self._tokens = TokenSample(num_sampled_tokens)
        self._sampled: list[Tensor | None] = [None] * len(modules)
        self.num_streams: int | None = None
        telling = [module for module in modules if hasattr(module, "watches_statistics")]
        self._telling = cast(list[TellingMixing], telling)

    @property
    def columns(self) -> Columns:
        """Gains and stream of every layer at every step; composites when they are due."""
        num_layers = len(self._modules)
        composites = (signal for signal in CATALOGUE.values() if signal.cadence == "composite")
        slow = per_layer(SLOW_SERIES, num_layers)
        values = per_layer(("log_singular_value_mean",), MAX_STREAMS)
        return {
            "step": per_layer(STEP_SERIES, num_layers),
            "composite": tuple(column for signal in composites for column in signal.columns(num_layers)),
            "slow": (*slow, *degeneracy.COMPOSITE_SERIES, *values),
        }

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks every mixing."""
        self._block_SL = places["step"].view(len(STEP_SERIES), len(self._modules))
        self._composites, self._clock = places["composite"], clock
        of_layers, self._of_composite = places["slow"].tensor_split([len(SLOW_SERIES) * len(self._modules)])
        slow_SL = of_layers.view(len(SLOW_SERIES), -1)
        self._cancellation_SL, self._degeneracy_SL, (self._first_max_L,) = slow_SL.tensor_split(
            [len(degeneracy.CANCELLATION_SERIES), len(SLOW_SERIES) - 1]
        )
        self._ask(True)
        self._hooks = ForwardHooks(self._modules, self._observe, self._faults, "observing a mixing matrix")

    def end_step(self) -> None:
        """Writes what the matrices of all layers say together, if it is due and every layer was there."""
        if not self._is_sampling:
            return
        sampled = [matrices for matrices in self._sampled if matrices is not None]
        if len(sampled) == len(self._sampled):
            H_LKnn = torch.stack(sampled)
            if self._clock.is_due["composite"]:
                self._composites.copy_(_composite_row(H_LKnn))
            if self._clock.is_due["slow"]:
                self._degeneracy_SL.copy_(degeneracy.layer_degeneracy(H_LKnn))
                values = degeneracy.composite_degeneracy(H_LKnn)
                self._of_composite[: len(values)].copy_(values)
        self._sampled = [None] * len(self._sampled)

    @property
    def _is_sampling(self) -> bool:
        return self._clock.is_due["composite"] or self._clock.is_due["slow"]

    def close(self) -> None:
        """Removes the hooks and forgets the samples."""
        self._hooks.close()
        self._ask(False)
        self._sampled = [None] * len(self._sampled)

    def _observe(self, layer: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        """Writes one layer's numbers; the same places again when a recomputed forward replays it."""
        streams_BSnC, (h_pre_BSn, h_post_BSn, h_res_BSnn) = args[0].detach(), output
        h_res_BSnn = h_res_BSnn.detach()
        self.num_streams = n = h_res_BSnn.shape[-1]
        # Another probe that is detached may have ended the telling: then it is measured here
        told = getattr(module, "statistics", None) if getattr(module, "watches_statistics", 0) else None
        gains_S = _gains_told(told) if told is not None else _gains_of(h_res_BSnn.reshape(-1, n, n).float())
        sample_KnC = self._tokens.of(streams_BSnC)
        step_S = torch.cat((torch.stack(size(sample_KnC)), gains_S))
        self._block_SL[: len(step_S), layer] = step_S
        if self._is_sampling:
            self._sampled[layer] = self._tokens.of(h_res_BSnn).float()
        if self._clock.is_due["slow"]:
            self._cancellation_SL[:, layer] = degeneracy.cancellation(
                sample_KnC, self._tokens.of(h_pre_BSn.detach()), self._tokens.of(h_post_BSn.detach())
            )
            self._first_max_L[layer].copy_(streams_BSnC[:, 0].abs().amax())

    def _ask(self, is_watching: bool) -> None:
        for module in self._telling:
            module.watches_statistics = is_watching


def _gains_of(matrices_Tnn: Tensor) -> Tensor:
    """The gains of these matrices: means, maxima, negativity."""
    gains = layer_gains(matrices_Tnn)
    values_ST = torch.stack([getattr(gains, name.removeprefix("layer_")) for name in LAYER_GAINS])
    return torch.cat((values_ST.mean(1), values_ST.amax(1), gains.negativity.amax().reshape(1)))


def _gains_told(statistics: SinkhornStatistics) -> Tensor:
    """The same of matrices without a negative entry, whose norms are amax; then their logits' range."""
    names = [_TOLD.get(name, name.removeprefix("layer_")) for name in LAYER_GAINS]
    fields = [f"{name}_{reduction}" for reduction in ("mean", "max") for name in names]
    values = [getattr(statistics, field) for field in fields]
    # 0, and NaN where a matrix is.
    negativity = statistics.row_error_max * 0.0
    return torch.stack([*values, negativity, statistics.logit_range_mean, statistics.logit_range_max])


def _composite_row(matrices_LKnn: Tensor) -> Tensor:
    """All composite signals, in the catalogue's order: for each its reductions, for each its layers."""
    num_layers = len(matrices_LKnn)
    gains = composite_gains(matrices_LKnn)
    depth_L1 = torch.arange(1, num_layers + 1, device=matrices_LKnn.device).unsqueeze(1)
    values = {
        "layer_norm_two": norm_two(matrices_LKnn),
        "log_composite_amax_forward": gains.log_amax_forward,
        "log_composite_amax_backward": gains.log_amax_backward,
        "log_composite_norm_inf": gains.log_norm_inf,
        "log_composite_norm_one": gains.log_norm_one,
        "log_composite_norm_two": gains.log_norm_two,
        "composite_row_error": gains.row_error,
        "composite_column_error": gains.column_error,
        "composite_smallest_sum": gains.smallest_sum,
        "log_gain_per_layer": gains.log_norm_inf / depth_L1,
    }
    parts = []
    for signal in CATALOGUE.values():
        if signal.cadence == "composite":
            value_LK = values.get(signal.name)
            if value_LK is None:
                value_LK = values[f"log_{signal.name}"].exp()
            parts += [_REDUCE[reduction](value_LK) for reduction in signal.reductions]
    return torch.cat(parts)


_TOLD: Final = {"layer_norm_inf": "amax_forward", "layer_norm_one": "amax_backward"}
_REDUCE: Final = {
    "mean": lambda value_LK: value_LK.mean(1),
    "max": lambda value_LK: value_LK.amax(1),
    "min": lambda value_LK: value_LK.amin(1),
}
