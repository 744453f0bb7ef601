"""What is wrong with a run. Foreshock's notifiers say the same, and more: load these, or have those."""

from typing import Final

from foreshock.dashboards.prometheus.rule import Alerting, Recording, RuleFile, Severity

# Two collectors on one database both tell of a run
RUN: Final = "(run_id, run, project)"
GAIN: Final = "foreshock:composite_gain:max"
_ADDRESS: Final = '{{ with query "foreshock_collector_info" }}{{ . | first | label "address" }}{{ end }}'
PAGE: Final = _ADDRESS + "/runs/{{ $labels.run_id }}"


def _of_run(
    name: str, expr: str, severity: Severity | None, summary: str, description: str, holds_for: str = "0s"
) -> Alerting:
    """An alert with a link to the run's page."""
    summary = f"{{{{ $labels.run }}}}: {summary}"
    return Alerting(name, expr, severity, summary, description, holds_for, {"page": PAGE})


RUN_RULES: Final = RuleFile(
    "runs",
    "What is wrong with a run. Leave this file out where foreshock itself pushes to Alertmanager.",
    (
        Recording(GAIN, f"max by {RUN} (foreshock_composite_gain_worst)"),
        _of_run(
            "ForeshockRunAlert",
            "max by (run_id, run, project, rule, severity) "
            '(foreshock_firing_alerts{severity=~"warning|critical"}) > 0',
            None,
            "{{ $labels.rule }}",
            "The collector's own judgement; the run's page has the reason, the layer and the step.",
        ),
        _of_run(
            "ForeshockCompositeGainRising",
            f"{GAIN} > 10 and {GAIN} >= 1.1 * min_over_time({GAIN}[10m])",
            "warning",
            "composite Amax gain {{ $value | humanize }}, and rising",
            "A state of risk, not yet an event: look at headroom and trend on the run's page.",
            "1m",
        ),
        _of_run(
            "ForeshockHeadroomRunningOut",
            f"min by {RUN} (foreshock_headroom_doublings) < 8 "
            f"and min by {RUN} (predict_linear(foreshock_headroom_doublings[10m], 1800)) < 0",
            "warning",
            "{{ $value | humanize }} doublings left, gone within half an hour at this pace",
            "Keep a checkpoint now; lower the rate, or run the residual stream in bf16 or fp32.",
            "2m",
        ),
        _of_run(
            "ForeshockHeadroomLow",
            f"min by {RUN} (foreshock_headroom_doublings) < 2",
            "critical",
            "{{ $value | humanize }} doublings left before the stream overflows",
            "Checkpoint now; lower the rate, clip, or constrain the mixing matrices.",
        ),
        _of_run(
            "ForeshockForecastRisk",
            f'max by {RUN} (foreshock_forecast_risk{{horizon="10%"}}) > 0.5',
            "warning",
            "a spike or divergence within 10 % of the run is {{ $value | humanizePercentage }} likely",
            "Keep a checkpoint now, and lower the learning rate or clip harder.",
            "1m",
        ),
        _of_run(
            "ForeshockLossNotFinite",
            f"max by {RUN} (foreshock_loss != foreshock_loss or abs(foreshock_loss) == +Inf)",
            "critical",
            "the loss is not finite",
            "The run is dead: restart from the last good checkpoint.",
        ),
        _of_run(
            "ForeshockHeartbeatLost",
            f"time() - max by {RUN} (foreshock_heartbeat_timestamp_seconds) > 120",
            "warning",
            "nothing heard for {{ $value | humanizeDuration }}",
            "The training process is stuck or gone, or cannot reach the collector.",
        ),
    ),
)
