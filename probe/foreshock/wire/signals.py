"""The catalogue: every signal foreshock knows, once.

Definitions follow "mHC" (arXiv:2512.24880), "HC" (arXiv:2409.19606) and "DeepSeek-V4"
(arXiv:2606.19348). The probe emits columns named here, the collector reduces ranks as said here,
the pages take units and healthy bands from here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from foreshock.wire.errors import UnknownSignalError

Reduction = Literal["mean", "max", "min"]
Cadence = Literal["step", "composite"]

_SERIES_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_./:\-]{0,119}")
_COLUMN: Final = re.compile(r"(?P<series>[^\[\]]+)(?:\[(?P<layer>0|[1-9][0-9]{0,4})\])?")


@dataclass(frozen=True, slots=True)
class Band:
    """The closed interval in which a signal of a healthy run stays."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Signal:
    """One row of the catalogue.

    `reductions` are taken over tokens and become suffixes of the column's name; `across_ranks` says
    how the values of several ranks become one; `cadence` "step" means every step, "composite" every
    `composite_every` steps.
    """

    name: str
    description: str
    formula: str
    unit: str
    source: str
    per_layer: bool = False
    reductions: tuple[Reduction, ...] = ()
    across_ranks: Reduction = "max"
    cadence: Cadence = "step"
    healthy: Band | None = None
    log_scale: bool = False

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series: one for each reduction, or the bare name."""
        return tuple(f"{self.name}_{reduction}" for reduction in self.reductions) or (self.name,)

    def columns(self, num_layers: int) -> tuple[str, ...]:
        """All its columns for a model of `num_layers` sub-layers, reduction by reduction."""
        if not self.per_layer:
            return self.series
        return tuple(f"{series}[{layer}]" for series in self.series for layer in range(num_layers))


@dataclass(frozen=True, slots=True)
class Column:
    """A parsed column name. `signal` is None for a user's own series."""

    series: str
    layer: int | None
    signal: Signal | None
    reduction: Reduction | None


MHC: Final = "arXiv:2512.24880"
HC: Final = "arXiv:2409.19606"
DS_BAND: Final = Band(0.9, 1.1)


def _gain(
    name: str,
    description: str,
    formula: str,
    *,
    reductions: tuple[Reduction, ...] = ("mean", "max"),
    cadence: Cadence = "step",
    healthy: Band | None = DS_BAND,
    unit: str = "ratio",
    log_scale: bool = True,
) -> Signal:
    return Signal(
        name,
        description,
        formula,
        unit,
        f"{MHC}, section 3.1",
        per_layer=True,
        reductions=reductions,
        cadence=cadence,
        healthy=healthy,
        log_scale=log_scale,
    )


_SIGNALS: Final = (
    # Loss and optimizer
    Signal("loss", "Training loss of the step", "-mean log p(next token)", "nat", "-", across_ranks="mean"),
    Signal("learning_rate", "Learning rate of the first parameter group", "lr_t", "1", "-"),
    Signal(
        "grad_norm",
        "Norm of all gradients before clipping",
        "||g||_2",
        "1",
        "arXiv:1211.5063",
        log_scale=True,
    ),
    Signal("grad_norm_clipped", "Norm of all gradients after clipping", "c ||g||_2", "1", "arXiv:1211.5063"),
    Signal(
        "clip_coefficient",
        "Share of the gradient that clipping leaves",
        "min(1, threshold / ||g||_2)",
        "ratio",
        "arXiv:1211.5063",
        across_ranks="min",
    ),
    Signal("step_skipped", "1 where the optimizer did not step (a scaler skipped it)", "0 or 1", "1", "-"),
    Signal("step_seconds", "Wall time since the last step", "t_k - t_(k-1)", "s", "-"),
    # One layer's mixing matrix H_res, x'_i = sum_j H_ij x_j, reduced over all tokens
    _gain("layer_amax_forward", "Amax gain of one layer, forward", "max_i |sum_j H_ij|"),
    _gain("layer_amax_backward", "Amax gain of one layer, backward", "max_j |sum_i H_ij|"),
    _gain("layer_norm_inf", "Upper bound of a layer's gain in the maximum norm", "max_i sum_j |H_ij|"),
    _gain("layer_norm_one", "Upper bound of a layer's gain in the sum norm", "max_j sum_i |H_ij|"),
    _gain("layer_norm_two", "Largest singular value of a layer's mapping", "sigma_1(H)", cadence="composite"),
    _gain(
        "layer_row_error",
        "How far a layer's row sums are from 1",
        "max_i |sum_j H_ij - 1|",
        healthy=Band(0.0, 0.1),
    ),
    _gain(
        "layer_column_error",
        "How far a layer's column sums are from 1",
        "max_j |sum_i H_ij - 1|",
        healthy=Band(0.0, 0.1),
    ),
    _gain(
        "layer_negativity",
        "How far a layer's smallest entry is below 0",
        "max(0, -min_ij H_ij)",
        reductions=("max",),
        healthy=Band(0.0, 0.0),
        log_scale=False,
    ),
    # Composite mappings, per token over a fixed sample of tokens
    _gain(
        "composite_amax_forward",
        "Amax gain of the composite from the entry to this layer",
        "max_i |sum_j P_ij|, P = H_l .. H_0",
        cadence="composite",
        healthy=Band(0.6, 1.6),
    ),
    _gain(
        "composite_amax_backward",
        "Amax gain of the composite that the gradient at this layer has passed",
        "max_j |sum_i S_ij|, S = H_(L-1) .. H_l",
        cadence="composite",
        healthy=Band(0.6, 1.6),
    ),
    _gain(
        "composite_norm_inf",
        "Upper bound of the prefix's gain in the maximum norm",
        "max_i sum_j |P_ij|",
        cadence="composite",
        healthy=Band(0.6, 1.6),
    ),
    _gain(
        "composite_norm_one",
        "Upper bound of the suffix's gain in the sum norm",
        "max_j sum_i |S_ij|",
        cadence="composite",
        healthy=Band(0.6, 1.6),
    ),
    _gain(
        "composite_norm_two",
        "Largest singular value of the prefix",
        "sigma_1(P)",
        cadence="composite",
        healthy=Band(0.6, 1.6),
    ),
    _gain(
        "log_composite_amax_forward",
        "Logarithm of composite_amax_forward, from the carried scale: finite where float32 overflows",
        "log max_i |sum_j P_ij|",
        cadence="composite",
        healthy=Band(-0.5, 0.5),
        unit="nat",
        log_scale=False,
    ),
    _gain(
        "log_composite_amax_backward",
        "Logarithm of composite_amax_backward, from the carried scale",
        "log max_j |sum_i S_ij|",
        cadence="composite",
        healthy=Band(-0.5, 0.5),
        unit="nat",
        log_scale=False,
    ),
    _gain(
        "log_composite_norm_inf",
        "Logarithm of composite_norm_inf, from the carried scale",
        "log max_i sum_j |P_ij|",
        cadence="composite",
        healthy=Band(-0.5, 0.5),
        unit="nat",
        log_scale=False,
    ),
    _gain(
        "log_composite_norm_one",
        "Logarithm of composite_norm_one, from the carried scale",
        "log max_j sum_i |S_ij|",
        cadence="composite",
        healthy=Band(-0.5, 0.5),
        unit="nat",
        log_scale=False,
    ),
    _gain(
        "log_composite_norm_two",
        "Logarithm of composite_norm_two, from the carried scale",
        "log sigma_1(P)",
        cadence="composite",
        healthy=Band(-0.5, 0.5),
        unit="nat",
        log_scale=False,
    ),
    _gain(
        "composite_row_error",
        "How far the prefix's row sums are from 1",
        "max_i |sum_j P_ij - 1|",
        cadence="composite",
        healthy=Band(0.0, 0.6),
    ),
    _gain(
        "composite_column_error",
        "How far the prefix's column sums are from 1",
        "max_j |sum_i P_ij - 1|",
        cadence="composite",
        healthy=Band(0.0, 0.6),
    ),
    _gain(
        "composite_smallest_sum",
        "Smallest row or column sum of the prefix: near 0 the signal vanishes, which Amax cannot see",
        "min(min_i |sum_j P_ij|, min_j |sum_i P_ij|)",
        reductions=("mean", "min"),
        cadence="composite",
        healthy=Band(0.1, 1.6),
    ),
    _gain(
        "log_gain_per_layer",
        "Growth a layer, a Lyapunov exponent: 10 at 32 layers is only 0.072",
        "log(norm_inf(P)) / (l + 1)",
        cadence="composite",
        healthy=Band(-0.02, 0.02),
        unit="nat per layer",
        log_scale=False,
    ),
    # Residual stream, over the same sample of tokens
    Signal(
        "stream_rms",
        "RMS of the residual stream that enters the layer",
        "sqrt(mean x^2)",
        "1",
        HC,
        per_layer=True,
        log_scale=True,
    ),
    Signal(
        "stream_max",
        "Largest magnitude in the residual stream that enters the layer",
        "max |x|",
        "1",
        HC,
        per_layer=True,
        log_scale=True,
    ),
    Signal(
        "headroom_bits",
        "Doublings left before the residual stream passes its dtype's range",
        "min_l log2(dtype max / stream_max_l)",
        "bit",
        "-",
        across_ranks="min",
        healthy=Band(4.0, 1024.0),
    ),
    # Layer-0 canary
    Signal("canary_embedding_rms", "RMS of the embedding's output", "sqrt(mean e^2)", "1", "-"),
    Signal("canary_embedding_max", "Largest magnitude of the embedding's output", "max |e|", "1", "-"),
    Signal(
        "canary_gain",
        "Layer 0's gain, the worse of both directions",
        "max(layer_amax_forward_mean[0], layer_amax_backward_mean[0])",
        "ratio",
        "-",
        healthy=DS_BAND,
        log_scale=True,
    ),
    Signal(
        "canary_grad_norm",
        "Gradient norm of the parameters of layer 0's mapping",
        "||g_0||_2",
        "1",
        "-",
        log_scale=True,
    ),
    Signal(
        "canary_rank",
        "Rank of layer 0 among the layers by slope of log gain; 1 means it moves fastest",
        "rank_0(slope log gain_l)",
        "1",
        "-",
        across_ranks="min",
    ),
    Signal(
        "canary_lead_steps",
        "Steps by which layer 0 left its band before the median layer did",
        "t_median - t_0",
        "step",
        "-",
    ),
    Signal(
        "canary_spread",
        "Deepest layer that has left its band after layer 0 did; -1 while none has",
        "max{l : gain_l outside band}",
        "layer",
        "-",
    ),
)

CATALOGUE: Final[Mapping[str, Signal]] = {signal.name: signal for signal in _SIGNALS}
_BY_SERIES: Final[Mapping[str, tuple[Signal, Reduction | None]]] = {
    series: (signal, reduction)
    for signal in _SIGNALS
    for series, reduction in zip(signal.series, signal.reductions or (None,), strict=True)
}


def parse_column(name: str) -> Column:
    """Reads a column's name, `loss` or `layer_amax_forward_max[3]`.

    Raises UnknownSignalError for a name that neither the catalogue nor the rule for a user's own
    series allows: a letter or underscore, then up to 119 of letters, digits and `_ . / : -`.
    """
    match = _COLUMN.fullmatch(name)
    if match is None or _SERIES_NAME.fullmatch(match["series"]) is None:
        raise UnknownSignalError(
            f"{name[:160]!r} is no series name: it must start with a letter or underscore, hold at most "
            "120 letters, digits, '_', '.', '/', ':' or '-', and may end with a layer such as [3]"
        )
    layer = None if match["layer"] is None else int(match["layer"])
    signal, reduction = _BY_SERIES.get(match["series"], (None, None))
    return Column(match["series"], layer, signal, reduction)


def catalogue_series() -> Iterator[tuple[str, Signal]]:
    """Every series name of the catalogue with its signal, in the catalogue's order."""
    for series, (signal, _) in _BY_SERIES.items():
        yield series, signal
