"""Mixtures of experts: how evenly, how surely and how steadily tokens are routed."""

from typing import Final

from foreshock.wire.signal import Band, Cadence, Reduction, Signal

V4: Final = "arXiv:2606.19348"


def _routing(
    name: str,
    description: str,
    formula: str,
    *,
    unit: str = "1",
    source: str = V4,
    healthy: Band | None = None,
    across_ranks: Reduction = "max",
    cadence: Cadence = "slow",
) -> Signal:
    return Signal(
        name,
        description,
        formula,
        unit,
        source,
        per_layer=True,
        across_ranks=across_ranks,
        cadence=cadence,
        healthy=healthy,
    )


ROUTING: Final = (
    _routing(
        "router_max_violation",
        "How far the busiest expert's load is above the mean",
        "max_e load_e / mean_e load_e - 1",
        unit="ratio",
        source="arXiv:2408.15664",
        healthy=Band(0.0, 2.0),
    ),
    _routing(
        "router_entropy",
        "Entropy of the experts' loads, 1 where all are alike",
        "-sum_e p_e log p_e / log E",
        unit="ratio",
        healthy=Band(0.7, 1.0),
        across_ranks="min",
    ),
    _routing(
        "router_dead_experts",
        "Share of experts that no token of the batch was sent to",
        "#{e: load_e = 0} / E",
        unit="ratio",
        healthy=Band(0.0, 0.25),
        across_ranks="min",
    ),
    _routing(
        "router_margin_p01",
        "First percentile over tokens of the margin between the last chosen expert and the next",
        "quantile_0.01(p_(K) - p_(K+1))",
        across_ranks="min",
    ),
    _routing(
        "router_similarity",
        "Mean cosine between the weights of two experts in the router: near 1 they cannot be told apart",
        "mean_(e < f) cos(w_e, w_f)",
        unit="ratio",
        source="arXiv:2606.28116",
        healthy=Band(-1.0, 0.5),
    ),
    _routing(
        "router_staleness",
        "Share of choices that the router's weights of the last reading would make otherwise",
        "mean_t 1 - |TopK(W_t x) and TopK(W_(t-k) x)| / K",
        unit="ratio",
        healthy=Band(0.0, 0.3),
    ),
    _routing(
        "router_staleness_weighted",
        "The same, each token weighted by its margin, since flips between equals are noise",
        "sum_t m_t (1 - |..| / K) / sum_t m_t",
        unit="ratio",
        healthy=Band(0.0, 0.1),
    ),
    _routing(
        "router_staleness_applied",
        "Share of the choices in force that the router's weights of now would make otherwise: what "
        "anticipatory routing takes from the past; 0 without it",
        "mean_t 1 - |chosen and TopK(W_t x)| / K",
        unit="ratio",
        healthy=Band(0.0, 0.3),
    ),
    _routing(
        "router_domain_distance",
        "How differently the domains of the data are routed: 0 alike, 1 by experts of their own",
        "Jensen-Shannon divergence of the domains' loads / log of their number",
        unit="ratio",
    ),
    _routing(
        "router_staleness_fixed",
        "Share of choices on a batch that stays the same that differ from those of the last replay",
        "mean_t 1 - |TopK_t and TopK_(t-k)| / K, on probe.replay's batch",
        unit="ratio",
        cadence="rare",
        healthy=Band(0.0, 0.3),
    ),
    _routing(
        "router_staleness_fixed_weighted",
        "The same, each token weighted by its margin",
        "sum_t m_t (1 - |..| / K) / sum_t m_t",
        unit="ratio",
        cadence="rare",
        healthy=Band(0.0, 0.1),
    ),
    _routing(
        "router_counterfactual",
        "How different the experts' output would be under the choices of the last replay",
        "mean_t |y(TopK_t) - y(TopK_(t-k))| / |y(TopK_t)|, on probe.replay's batch",
        unit="ratio",
        cadence="rare",
    ),
    _routing(
        "router_tear",
        "How much farther apart near tokens come out where their experts differ than where they agree",
        "median log J (routes differ) - median log J (routes agree), J = |y_a - y_b| / |x_a - x_b|",
        unit="nat",
        source="-",
        cadence="rare",
    ),
)
