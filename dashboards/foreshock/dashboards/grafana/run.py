"""One run, or a few beside each other: the event, what leads to it, the optimizer, the router."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from foreshock.dashboards.grafana.board import board, fill
from foreshock.dashboards.grafana.fleet import GAIN_STEPS, HEADROOM_STEPS, RISK_STEPS
from foreshock.dashboards.grafana.panel import (
    GREEN,
    HEALTH_STEPS,
    RED,
    YELLOW,
    Query,
    health_words,
    lines,
    number,
)
from foreshock.dashboards.grafana.source import CHOSEN, worst

_HORIZON: Final = ', horizon="10%"'


def _safe() -> tuple[Builder[Panel], ...]:
    return (
        number(
            "Health",
            "The worst of the chosen runs.",
            f"max(foreshock_health{{{CHOSEN}}})",
            steps=HEALTH_STEPS,
        ).mappings([health_words()]),
        number(
            "Risk",
            "Of a spike or divergence within 10 % of the run.",
            f"max(foreshock_forecast_risk{{{CHOSEN}{_HORIZON}}})",
            unit="percentunit",
            steps=RISK_STEPS,
        ),
        number(
            "Steps to a limit",
            "Until the first signal passes its limit at its present pace; none is headed there otherwise.",
            f"min(foreshock_steps_to_limit{{{CHOSEN}}})",
            steps=((None, RED), (100, YELLOW), (1000, GREEN)),
        ),
        number(
            "Composite gain",
            "The worst; healthy up to 1.6, over 10 is a state of risk.",
            f"max(foreshock_composite_gain_worst{{{CHOSEN}}})",
            steps=GAIN_STEPS,
        ),
        number(
            "Headroom",
            "Doublings left before the residual stream overflows.",
            f"min(foreshock_headroom_doublings{{{CHOSEN}}})",
            steps=HEADROOM_STEPS,
        ),
        number("Step", "The newest.", f"max(foreshock_last_step{{{CHOSEN}}})"),
    )


def _event() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Loss",
            "Of the newest step at each scrape; a gap is a value that is not finite.",
            Query(worst("foreshock_loss"), "{{run}}"),
        ),
        lines(
            "Risk of a spike or divergence",
            "Within 20 steps, 100 steps, 5 % and 10 % of the run.",
            Query(worst("foreshock_forecast_risk", "horizon"), "{{run}}, {{horizon}}"),
            unit="percentunit",
            steps=((None, GREEN), (0.5, RED)),
        ),
        lines(
            "Alerts firing",
            "By the rule that says so.",
            Query(worst("foreshock_firing_alerts", "rule", "severity"), "{{run}}: {{rule}} ({{severity}})"),
        ),
    )


def _structure() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Composite gain",
            "The worst layer's Amax, mean over tokens; healthy up to 1.6, over 10 is a state of risk.",
            Query(worst("foreshock_composite_gain_worst", "direction"), "{{run}}, {{direction}}"),
            log=True,
            steps=GAIN_STEPS,
        ),
        lines(
            "Gain of single layers",
            "Half of the layers, nine of ten, and the worst; both directions.",
            Query(
                worst("foreshock_layer_gain", "percentile", matching=', percentile=~"50|90"'),
                "{{run}}, {{percentile}} %",
            ),
            Query(worst("foreshock_layer_gain_worst"), "{{run}}, worst"),
            log=True,
        ),
        lines(
            "Canary",
            "The gain of layer 0, the worse direction: it goes first.",
            Query(worst("foreshock_canary_gain"), "{{run}}"),
        ),
        lines(
            "Headroom",
            "Doublings left before the residual stream passes its dtype's range.",
            Query(worst("foreshock_headroom_doublings", how="min"), "{{run}}"),
            steps=HEADROOM_STEPS,
        ),
        lines(
            "Largest activation",
            "Of any layer's residual stream.",
            Query(worst("foreshock_stream_worst"), "{{run}}"),
            log=True,
        ),
        lines(
            "Steps to limits",
            "Until a signal passes its limit at the pace of its last windows; 0 where it has.",
            Query(worst("foreshock_steps_to_limit", "limit", how="min"), "{{run}}, {{limit}}"),
        ),
    )


def _optimizer() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Gradient norm",
            "Before clipping.",
            Query(worst("foreshock_grad_norm"), "{{run}}"),
            log=True,
        ),
        lines(
            "Clipping",
            "Share of the gradient that it left.",
            Query(worst("foreshock_clip_coefficient", how="min"), "{{run}}"),
            unit="percentunit",
        ),
        lines(
            "Learning rate",
            "Of the first parameter group.",
            Query(worst("foreshock_learning_rate"), "{{run}}"),
        ),
        lines(
            "Adam's memory",
            "The gradient beside it; above 2.3 updates are too long.",
            Query(worst("foreshock_adam_rms"), "{{run}}"),
            steps=((None, GREEN), (2.3, YELLOW)),
        ),
        lines(
            "Update",
            "RMS of the update over that of the parameters.",
            Query(worst("foreshock_update_ratio"), "{{run}}"),
            log=True,
        ),
        lines(
            "Step time",
            "Wall time of the newest step.",
            Query(worst("foreshock_step_seconds"), "{{run}}"),
            unit="s",
        ),
    )


def _router() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Router's load",
            "How far the busiest expert's is above the mean; healthy up to 2.",
            Query(worst("foreshock_router_violation_worst"), "{{run}}"),
            steps=((None, GREEN), (2, YELLOW)),
        ),
        lines(
            "Router's entropy and dead experts",
            "Entropy of the loads, 1 where all are alike; share of experts without a token.",
            Query(worst("foreshock_router_entropy_worst", how="min"), "{{run}}, entropy"),
            Query(worst("foreshock_router_dead_experts_worst"), "{{run}}, dead"),
            unit="percentunit",
        ),
        lines(
            "Router's staleness",
            "The largest of any layer; its limit is 0.3.",
            Query(worst("foreshock_router_staleness_worst"), "{{run}}"),
            steps=((None, GREEN), (0.3, YELLOW)),
        ),
        lines(
            "Attention logit",
            "The largest of any layer; its limit is 1,000.",
            Query(worst("foreshock_attention_logit_worst"), "{{run}}"),
            log=True,
            steps=((None, GREEN), (1000, YELLOW)),
        ),
    )


def run() -> str:
    """The board's JSON."""
    about = (
        "What Prometheus sees of a run: its newest step at each scrape. Every step, every layer and the "
        "reasons are on foreshock's own page."
    )
    return fill(
        board("foreshock-run", "foreshock: run", about),
        (
            ("Is it safe?", _safe()),
            ("Event", _event()),
            ("Structure", _structure()),
            ("Optimizer", _optimizer()),
            ("Router and attention", _router()),
        ),
    )
