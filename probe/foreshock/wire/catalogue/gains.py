"""Gains of the mixing matrices: one layer's, those of their products, and the layer-0 canary."""

from typing import Final

from foreshock.wire.signal import Band, Cadence, Reduction, Signal

MHC: Final = "arXiv:2512.24880"
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


LAYER_GAINS: Final = (
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
    _gain(
        "logit_range",
        "Range of the logits that Sinkhorn was given: past 30 nats the sums look perfect and nothing learns",
        "max_ij z_ij - min_ij z_ij",
        healthy=Band(0.0, 30.0),
        unit="nat",
        log_scale=False,
    ),
)

# What Amax cannot see, both ways, over the same sample of tokens as the composites
DEGENERACY: Final = (
    _gain(
        "identity_distance",
        "How far a layer's mapping is from the identity: near 0 in all layers the streams never mix",
        "||H - I||_F / sqrt n",
        reductions=("mean",),
        cadence="slow",
        healthy=None,
    ),
    _gain(
        "log_sum_deviation",
        "How far a layer's row and column sums are from 1 in logarithm: attenuation counts like growth",
        "max(|log max(|r_i|, tiny)|, |log max(|c_j|, tiny)|)",
        cadence="slow",
        healthy=Band(0.0, 0.5),
        unit="nat",
        log_scale=False,
    ),
    _gain(
        "negative_sums",
        "Row and column sums of a layer below 0: the stream changes its sign there",
        "#{i: r_i < 0} + #{j: c_j < 0}",
        cadence="slow",
        healthy=Band(0.0, 0.0),
        unit="1",
        log_scale=False,
    ),
    _gain(
        "pre_cancellation",
        "How much of the streams is left when a layer reads their sum: near 0 they cancel",
        "|sum_j h_j x_j| / sum_j |h_j| |x_j|, h = H_pre",
        reductions=("mean", "min"),
        cadence="slow",
        healthy=Band(0.1, 1.0),
    ),
    _gain(
        "post_cancellation",
        "How much of a layer's output is left in the streams' sum: near 0 it is written and taken back",
        "|sum_i h_i| / sum_i |h_i|, h = H_post",
        reductions=("mean", "min"),
        cadence="slow",
        healthy=Band(0.1, 1.0),
    ),
    Signal(
        "log_stream_collapse",
        "Logarithm of what the whole composite leaves of the streams' differences: far below 0 all are one",
        "log sigma_1((I - J/n) P (I - J/n)), P = H_(L-1) .. H_0, J all ones",
        "nat",
        f"{MHC}, section 3.1",
        reductions=("mean", "max"),
        cadence="slow",
    ),
    Signal(
        "log_singular_value",
        "Logarithms of all singular values of the whole composite, largest first",
        "log sigma_i(P), mean over tokens",
        "nat",
        f"{MHC}, section 3.1",
        per_layer=True,
        reductions=("mean",),
        cadence="slow",
    ),
)

COMPOSITE_GAINS: Final = (
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
)

CANARY: Final = (
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
