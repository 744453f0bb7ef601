"""The mixing matrices of a hyper-connection model, reduced where they are computed.

Legend: T tokens, K sampled tokens, n streams, C width, L layers.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from foreshock.kernels import MAX_STREAMS, SinkhornStatistics, composite_gains, layer_gains, norm_two
from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers import degeneracy
from foreshock.probe.observers.hooks import ForwardHooks, Tensors
from foreshock.probe.observers.measures import TokenSample
from foreshock.probe.observers.mixed import Mixed, MixingPoint, TellingPoint
from foreshock.probe.observers.observer import Columns, Places
from foreshock.probe.observers.visits import Sizes, Visits, together
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
GAIN_SERIES: Final = (
    *(f"{name}_mean" for name in LAYER_GAINS),
    *(f"{name}_max" for name in LAYER_GAINS),
    "layer_negativity_max",
    "logit_range_mean",
    "logit_range_max",
)
STEP_SERIES: Final = (*STREAM_SERIES, *GAIN_SERIES)


class MixingObserver:
    """Reduces every layer's H_res to gains over all tokens, and its input stream over a sample.

    While the sheet `composite` is due, each layer's matrices of the sampled tokens are kept for the
    composites, which need all layers at once.
    """

    def __init__(self, points: Sequence[MixingPoint], *, num_sampled_tokens: int, faults: Faults) -> None:
        self.points, self._faults = points, faults
        self._tokens = TokenSample(num_sampled_tokens)
        self._sampled: list[Tensor | None] = [None] * len(points)
        self._sizes = Sizes(len(points), num_sampled_tokens)
        self._gains: Visits[Tensor] = Visits(len(points))
        self.num_streams: int | None = None

    @property
    def columns(self) -> Columns:
        """Gains and stream of every layer at every step; composites when they are due."""
        num_layers = len(self.points)
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
        block_SL = places["step"].view(len(STEP_SERIES), len(self.points))
        self._streams_SL, self._gains_SL = block_SL.tensor_split([len(STREAM_SERIES)])
        self._composites, self._clock = places["composite"], clock
        of_layers, self._of_composite = places["slow"].tensor_split([len(SLOW_SERIES) * len(self.points)])
        slow_SL = of_layers.view(len(SLOW_SERIES), -1)
        self._cancellation_SL, self._degeneracy_SL, (self._first_max_L,) = slow_SL.tensor_split(
            [len(degeneracy.CANCELLATION_SERIES), len(SLOW_SERIES) - 1]
        )
        for point in self.points:
            point.start()
        self._telling = [point for point in self.points if isinstance(point, TellingPoint)]
        self._is_told = True
        clock.beginnings.append(self._begin_step)
        modules = [point.module for point in self.points]
        self._hooks = ForwardHooks(
            modules,
            self._pick,
            self._measure,
            clock=clock,
            cadence="step",
            faults=self._faults,
            told="observing a mixing matrix",
            keeps=(_TOLD,),
        )

    def _begin_step(self) -> None:
        """Asks nobody for statistics in steps that record none; a compiled graph would be compiled anew."""
        is_due = self._clock.is_due["step"]
        if is_due != self._is_told and not self._hooks.are_compiled:
            self._is_told = is_due
            for point in self._telling:
                point.tell(is_due)

    def end_step(self) -> None:
        """Writes the layers' gains and streams; what all layers say together, if all of them were there."""
        with self._clock.charging("step"):
            self._sizes.write(*self._streams_SL)
            for layers, visits in self._gains.finish(Tensor.dim):
                gains_SL = _joined_gains(visits).T
                self._gains_SL[: len(gains_SL), layers] = gains_SL
        if not self._is_sampling:
            return
        sampled = [matrices for matrices in self._sampled if matrices is not None]
        if len(sampled) == len(self._sampled):
            H_LKnn = torch.stack(sampled)
            if self._clock.is_due["composite"]:
                with self._clock.charging("composite"):
                    self._composites.copy_(_composite_row(H_LKnn))
            if self._clock.is_due["slow"]:
                with self._clock.charging("slow"):
                    self._degeneracy_SL.copy_(degeneracy.layer_degeneracy(H_LKnn))
                    values = degeneracy.composite_degeneracy(H_LKnn)
                    self._of_composite[: len(values)].copy_(values)
        self._sampled = [None] * len(self._sampled)

    @property
    def _is_sampling(self) -> bool:
        return self._clock.is_due["composite"] or self._clock.is_due["slow"]

    def close(self) -> None:
        """Removes the hooks and forgets the samples."""
        self._clock.beginnings.remove(self._begin_step)
        self._hooks.close()
        for point in self.points:
            point.close()
        self._sampled = [None] * len(self._sampled)

    def _pick(self, layer: int, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensors | None:
        mixed = self.points[layer].read(args, output)
        if mixed is None:
            return None
        told = None if mixed.statistics is None else mixed.statistics.values
        return mixed.h_res, mixed.streams, mixed.h_pre, mixed.h_post, told

    def _measure(self, layer: int, tensors: Tensors) -> None:
        h_res, streams, h_pre, h_post, told = tensors
        assert h_res is not None, "a mixing without a matrix is not picked"
        statistics = None if told is None else SinkhornStatistics(told)
        self.write(layer, Mixed(streams, h_res, h_pre, h_post, statistics))

    def write(self, layer: int, mixed: Mixed) -> None:
        """Takes what one forward pass shows of a layer."""
        h_res_BSnn, told = mixed.h_res.detach(), mixed.statistics
        self.num_streams = n = h_res_BSnn.shape[-1]
        if told is not None:
            self._gains.add(layer, told.values)
        else:
            self._gains.add(layer, _gains_of(h_res_BSnn.reshape(-1, n, n).float()))
        if self._is_sampling:
            self._sampled[layer] = self._tokens.of(h_res_BSnn).float()
        if mixed.streams is not None:
            self._take_streams(layer, mixed, mixed.streams.detach())

    def _take_streams(self, layer: int, mixed: Mixed, streams_BSnC: Tensor) -> None:
        self._sizes.take(layer, streams_BSnC)
        if not self._clock.is_due["slow"]:
            return
        self._first_max_L[layer].copy_(streams_BSnC[:, 0].abs().amax())
        if mixed.h_pre is not None:
            sampled = self._tokens.of(streams_BSnC), self._tokens.of(mixed.h_pre.detach())
            self._cancellation_SL[:2, layer] = degeneracy.pre_cancellation(*sampled)
        if mixed.h_post is not None:
            h_post_Kn = self._tokens.of(mixed.h_post.detach())
            self._cancellation_SL[2:, layer] = degeneracy.post_cancellation(h_post_Kn)


def _gains_of(matrices_Tnn: Tensor) -> Tensor:
    """GAIN_SERIES of these matrices without their logits, which nobody knows, [S - 2]."""
    gains = layer_gains(matrices_Tnn)
    values_ST = torch.stack([getattr(gains, name.removeprefix("layer_")) for name in LAYER_GAINS])
    return torch.cat((values_ST.mean(1), values_ST.amax(1), gains.negativity.amax().reshape(1)))


def _joined_gains(visits: list[list[Tensor]]) -> Tensor:
    """GAIN_SERIES of layers, [L, S], from what each pass has computed [S - 2], or been told [5, 2]."""
    stacked = torch.stack([entry for entries in visits for entry in entries])
    values_LVx = stacked.view(len(visits), -1, *stacked.shape[1:])
    if values_LVx.dim() == 4:
        errors_LV22, amax_LV22, logits_LV12 = values_LVx.tensor_split([2, 4], dim=2)
        # Where no entry is negative, norms are amax
        gains_LV62 = torch.cat((amax_LV22, amax_LV22, errors_LV22), dim=2)
        gains_LVS = gains_LV62.transpose(2, 3).flatten(2)
        # 0, and NaN where a matrix is
        negativity_LV1 = gains_LVS[..., -1:] * 0.0
        values_LVx = torch.cat((gains_LVS, negativity_LV1, logits_LV12.flatten(2)), dim=2)
    return together(values_LVx, _MEANS)


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


# Where GAIN_SERIES has means over tokens
_MEANS: Final = slice(0, len(LAYER_GAINS)), slice(2 * len(LAYER_GAINS) + 1, 2 * len(LAYER_GAINS) + 2)
# Of what is picked, the statistics
_TOLD: Final = 4
_REDUCE: Final = {
    "mean": lambda value_LK: value_LK.mean(1),
    "max": lambda value_LK: value_LK.amax(1),
    "min": lambda value_LK: value_LK.amin(1),
}
