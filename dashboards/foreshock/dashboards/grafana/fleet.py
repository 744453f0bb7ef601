"""All live runs at a glance, and the collector's own health."""

from typing import Final

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue, Panel

from foreshock.dashboards.grafana.board import board, fill
from foreshock.dashboards.grafana.panel import (
    GREEN,
    HEALTH_STEPS,
    RED,
    YELLOW,
    Query,
    Steps,
    health_strip,
    health_words,
    lines,
    number,
)
from foreshock.dashboards.grafana.run_table import Column, run_table
from foreshock.dashboards.grafana.source import CHOSEN, worst

GAIN_STEPS: Final[Steps] = ((None, GREEN), (1.6, YELLOW), (10, RED))
HEADROOM_STEPS: Final[Steps] = ((None, RED), (2, YELLOW), (4, GREEN))
RISK_STEPS: Final[Steps] = ((None, GREEN), (0.2, YELLOW), (0.5, RED))
_ANY: Final[Steps] = ((None, GREEN), (1, RED))
_RATE: Final = "$__rate_interval"
_HORIZON: Final = ', horizon="10%"'


def _numbers() -> tuple[Builder[Panel], ...]:
    return (
        number("Live runs", "Running or lost.", "max(foreshock_live_runs)"),
        number(
            "At risk or diverged",
            "Runs of which a critical alert fires, or whose loss is not finite.",
            f"count({worst('foreshock_health')} >= 2) or vector(0)",
            steps=_ANY,
        ),
        number(
            "Alerts firing",
            "Of severity warning and critical.",
            'sum(max by (run_id, rule, severity) (foreshock_firing_alerts{severity=~"warning|critical"})) '
            "or vector(0)",
            steps=_ANY,
        ),
        number(
            "Highest risk",
            "Of a spike or divergence within 10 % of its run.",
            f"max(foreshock_forecast_risk{{{CHOSEN}{_HORIZON}}})",
            unit="percentunit",
            steps=RISK_STEPS,
        ),
        number(
            "Worst composite gain",
            "Healthy up to 1.6; over 10 is a state of risk.",
            f"max(foreshock_composite_gain_worst{{{CHOSEN}}})",
            steps=GAIN_STEPS,
        ),
        number(
            "Least headroom",
            "Doublings left before a residual stream overflows.",
            f"min(foreshock_headroom_doublings{{{CHOSEN}}})",
            steps=HEADROOM_STEPS,
        ),
    )


def _table() -> Builder[Panel]:
    return run_table(
        "Runs",
        "Live runs, the worst on top; a run's name leads to its pages.",
        (
            Column(
                "health",
                worst("foreshock_health"),
                steps=HEALTH_STEPS,
                more=(DynamicConfigValue("mappings", [health_words()]),),
            ),
            Column("risk", worst("foreshock_forecast_risk", matching=_HORIZON), "percentunit", RISK_STEPS),
            Column("steps to limit", worst("foreshock_steps_to_limit", how="min")),
            Column("composite gain", worst("foreshock_composite_gain_worst"), steps=GAIN_STEPS),
            Column("headroom", worst("foreshock_headroom_doublings", how="min"), steps=HEADROOM_STEPS),
            Column("loss", worst("foreshock_loss")),
            Column("step", worst("foreshock_last_step")),
            Column("last heard of", f"time() - {worst('foreshock_heartbeat_timestamp_seconds')}", "s"),
        ),
    )


def _collector() -> tuple[Builder[Panel], ...]:
    return (*_ingest(), *_judging(), *_waiting(), *_storage())


def _ingest() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Points stored",
            "Steps times series, a second.",
            Query(f"sum(rate(foreshock_points_total[{_RATE}]))", "points"),
        ),
        lines(
            "Appends",
            "Requests a second by what became of them.",
            Query(f"sum by (result) (rate(foreshock_appends_total[{_RATE}]))", "{{result}}"),
            unit="reqps",
        ),
        lines(
            "Append and commit",
            "From a whole body to its acknowledgement; and one commit, which many appends share.",
            Query("foreshock:append_duration_seconds:p99", "append, 99 %"),
            Query(
                "histogram_quantile(0.99, sum by (le) "
                f"(rate(foreshock_commit_duration_seconds_bucket[{_RATE}])))",
                "commit, 99 %",
            ),
            unit="s",
        ),
    )


def _judging() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Judge behind",
            "Seconds of training that are stored and not yet judged, of each run.",
            Query("max by (run_id, run, project) (foreshock:judge_lag_seconds)", "{{run}}"),
            unit="s",
            steps=((None, GREEN), (60, RED)),
        ),
        lines(
            "Judge's last turn",
            "Seconds since it came to the end of all runs.",
            Query("time() - foreshock_judge_turn_timestamp_seconds", "{{instance}}"),
            unit="s",
            steps=((None, GREEN), (120, RED)),
        ),
    )


def _waiting() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Appends waiting",
            "For a commit; too many, and probes are told to come back.",
            Query("foreshock_waiting_appends", "{{instance}}"),
        ),
        lines(
            "Outbox",
            "Notifications that are still to be delivered, silenced ones too.",
            Query("max by (notifier) (foreshock_notifications_waiting)", "{{notifier}}"),
        ),
        lines(
            "Notifications",
            "By what became of each try, over ten minutes.",
            Query(
                "sum by (notifier, result) (increase(foreshock_notifications_total[10m]))",
                "{{notifier}} {{result}}",
            ),
        ),
    )


def _storage() -> tuple[Builder[Panel], ...]:
    return (
        lines(
            "Lost and repeated",
            "Frames that probes had to drop, records that came again; over ten minutes.",
            Query("sum(increase(foreshock_lost_frames_total[10m]))", "frames lost"),
            Query("sum(increase(foreshock_duplicates_total[10m]))", "records repeated"),
        ),
        lines(
            "Stored",
            "Bytes of records a second.",
            Query(f"sum(rate(foreshock_stored_bytes_total[{_RATE}]))", "records"),
            unit="Bps",
        ),
        lines(
            "Disk free",
            "Where the SQLite file lies; PostgreSQL's disk is elsewhere.",
            Query("foreshock_disk_free_bytes", "{{instance}}"),
            unit="bytes",
            steps=((None, RED), (2e9, GREEN)),
        ),
        lines(
            "Answers",
            "1 where the collector, and its database, answer Prometheus.",
            Query('up{job="foreshock"}', "collector {{instance}}"),
            Query("foreshock_database_up", "database {{instance}}"),
        ),
    )


def fleet() -> str:
    """The board's JSON."""
    about = "Every live run and its health; and how the collector itself fares."
    health = health_strip("Health", "Of each run over time.", Query(worst("foreshock_health"), "{{run}}"))
    return fill(
        board("foreshock-fleet", "foreshock: fleet", about),
        (("Runs", (*_numbers(), _table(), health)), ("Collector", _collector())),
    )
