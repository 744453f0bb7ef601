"""What the collector cannot say of itself: that it, its database, its judge or its notifiers are silent."""

from typing import Final

from foreshock.dashboards.prometheus.rule import Alerting, Recording, RuleFile

_FAILED: Final = 'foreshock_notifications_total{result=~"failed|given_up"}'
_DELIVERED: Final = 'foreshock_notifications_total{result="delivered"}'

# In seconds of training: steps that are not judged yet, by the pace at which steps come. Where none come
# any more it is infinite, and 0 where all is judged.
LAG: Final = (
    "(foreshock_judge_lag_steps > 0) / clamp_min(deriv(foreshock_last_step[5m]), 0) "
    "or foreshock_judge_lag_steps == 0"
)

COLLECTOR_RULES: Final = RuleFile(
    "collector",
    "What the collector cannot say of itself. Nothing here doubles what foreshock pushes: load it always.",
    (
        Recording(
            "foreshock:append_duration_seconds:p99",
            "histogram_quantile(0.99, sum by (le) (rate(foreshock_append_duration_seconds_bucket[5m])))",
        ),
        Recording("foreshock:judge_lag_seconds", LAG),
        Alerting(
            "ForeshockCollectorDown",
            'up{job="foreshock"} == 0',
            "critical",
            "The collector at {{ $labels.instance }} does not answer",
            "Probes keep their data in their spools; start the collector before those are full. Where it "
            "runs, Prometheus may lack its token: see the target's error.",
            "1m",
        ),
        Alerting(
            "ForeshockDatabaseDown",
            "foreshock_database_up == 0",
            "critical",
            "The collector's database does not answer",
            "Nothing is stored and nothing is judged until it does; probes keep their data.",
            "1m",
        ),
        Alerting(
            "ForeshockJudgeStopped",
            "time() - foreshock_judge_turn_timestamp_seconds > 120",
            "critical",
            "The judge has not come to the end of all runs for {{ $value | humanizeDuration }}",
            "No run is judged, so no alert fires: the collector's log says why; restart it.",
            "3m",
        ),
        Alerting(
            "ForeshockJudgeLagging",
            "max by (run_id, run, project) (foreshock:judge_lag_seconds) > 60",
            "warning",
            "{{ $labels.run }}: the judge is {{ $value | humanizeDuration }} behind",
            "Its alerts come late. Judging is spread over collectors: add one on the same PostgreSQL, "
            "or look in the log for why judging this run fails.",
            "3m",
        ),
        Alerting(
            "ForeshockStorageFailing",
            'sum by (result) (increase(foreshock_appends_total{result=~"storage-.+"}[5m])) > 0',
            "critical",
            "Appends are refused: {{ $labels.result }}",
            "Probes keep their data and send it again. storage-full: make room on the disk; else the "
            "collector's log says why.",
            "1m",
        ),
        Alerting(
            "ForeshockDiskFilling",
            "foreshock_disk_free_bytes < 2e9 or "
            "(foreshock_disk_free_bytes and predict_linear(foreshock_disk_free_bytes[1h], 4 * 3600) < 0)",
            "warning",
            "{{ $value | humanize1024 }}B left on the collector's disk: it is full, or will be in four hours",
            "Delete runs (foreshock runs delete), limit projects (foreshock projects keep), or move the "
            "database; a full disk loses nothing as long as probes' spools have room.",
            "15m",
        ),
        Alerting(
            "ForeshockFramesLost",
            "increase(foreshock_lost_frames_total[10m]) > 0",
            "warning",
            "Probes had to drop {{ $value | humanize }} frames",
            "A spool was full: give it more room, or keep the collector reachable.",
        ),
        Alerting(
            "ForeshockNotificationsFailing",
            f"sum by (notifier) (increase({_FAILED}[10m])) > 0 "
            f"unless sum by (notifier) (increase({_DELIVERED}[10m])) > 0",
            "critical",
            "{{ $labels.notifier }} takes no notifications",
            "Alerts reach nobody there. `foreshock alerts test` says why; they are tried again for a day.",
            "5m",
        ),
        Alerting(
            "ForeshockNotificationsGivenUp",
            'sum by (notifier) (increase(foreshock_notifications_total{result="given_up"}[1h])) > 0',
            "warning",
            "{{ $value | humanize }} notification(s) to {{ $labels.notifier }} were given up",
            "They are tried no more: read those alerts on foreshock's page, then mend the notifier.",
        ),
        Alerting(
            "ForeshockRulesRefused",
            "foreshock_rules_problems > 0",
            "warning",
            "The rules file has {{ $value }} problem(s); older rules judge",
            "`foreshock rules check` tells the lines.",
            "1m",
        ),
        Alerting(
            "ForeshockRunsHidden",
            "foreshock_live_runs_truncated > 0",
            "warning",
            "{{ $value }} live run(s) are not on /metrics",
            "Prometheus sees nothing of them; foreshock judges them all the same. Raise "
            "FORESHOCK_MAX_LIVE_RUNS.",
            "5m",
        ),
    ),
)
