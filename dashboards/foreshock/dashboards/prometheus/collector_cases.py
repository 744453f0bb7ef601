"""Cases for the rules about the collector."""

from typing import Final

from foreshock.dashboards.prometheus.case import AlertCase, Expected, RecordCase

_OF_RUN: Final = 'run_id="a", run="hc", project="p"'
_RUN: Final = {"run_id": "a", "run": "hc", "project": "p"}
# A step a second, judged up to 90 s; from then on the judge stands still
_FALLING_BEHIND: Final = {
    f"foreshock_last_step{{{_OF_RUN}}}": "0+10x60",
    f"foreshock_judge_lag_steps{{{_OF_RUN}}}": "0x9 10+10x50",
}
_FULL: Final = "it is full, or will be in four hours"
_SENT: Final = 'foreshock_notifications_total{notifier="team", result="delivered"}'
_FAILED: Final = 'foreshock_notifications_total{notifier="team", result="failed"}'
_GIVEN_UP: Final = 'foreshock_notifications_total{notifier="team", result="given_up"}'

COLLECTOR_CASES: Final = (
    RecordCase(
        "foreshock:append_duration_seconds:p99",
        {
            'foreshock_append_duration_seconds_bucket{le="0.1"}': "0+9x30",
            'foreshock_append_duration_seconds_bucket{le="0.2"}': "0+10x30",
            'foreshock_append_duration_seconds_bucket{le="+Inf"}': "0+10x30",
        },
        "300s",
        # The 99th of 100 lies nine tenths into the last tenth
        {"": 0.19},
    ),
    RecordCase(
        "foreshock:judge_lag_seconds",
        {
            **_FALLING_BEHIND,
            'foreshock_last_step{run_id="b"}': "0+10x60",
            'foreshock_judge_lag_steps{run_id="b"}': "0x60",
            'foreshock_last_step{run_id="idle"}': "7x60",
            'foreshock_judge_lag_steps{run_id="idle"}': "0x60",
            'foreshock_last_step{run_id="stuck"}': "7x60",
            'foreshock_judge_lag_steps{run_id="stuck"}': "3x60",
        },
        "390s",
        {f"{{{_OF_RUN}}}": 300, '{run_id="b"}': 0, '{run_id="idle"}': 0, '{run_id="stuck"}': float("inf")},
    ),
    AlertCase(
        "ForeshockCollectorDown",
        {'up{job="foreshock", instance="here:8787"}': "1 0 1 0x9 1", 'up{job="other"}': "0x20"},
        {
            "90s": [
                Expected(
                    {"job": "foreshock", "instance": "here:8787"},
                    "The collector at here:8787 does not answer",
                )
            ]
        },
        ["10s", "80s", "130s"],
    ),
    AlertCase(
        "ForeshockDatabaseDown",
        {"foreshock_database_up": "1 0x9 1"},
        {"70s": [Expected({}, "The collector's database does not answer")]},
        ["60s", "120s"],
    ),
    AlertCase(
        "ForeshockJudgeStopped",
        # A turn every ten seconds, the last at 60 s
        {"foreshock_judge_turn_timestamp_seconds": "0+10x6 60x40"},
        {
            "380s": [
                Expected({}, "The judge has not come to the end of all runs for 5m 20s"),
            ]
        },
        ["180s", "300s", "360s"],
    ),
    AlertCase(
        "ForeshockJudgeLagging",
        _FALLING_BEHIND,
        {"350s": [Expected(_RUN, "hc: the judge is 4m 20s behind")]},
        ["90s", "320s"],
    ),
    AlertCase(
        "ForeshockStorageFailing",
        {
            'foreshock_appends_total{result="stored"}': "0+9x60",
            'foreshock_appends_total{result="busy"}': "0+3x60",
            'foreshock_appends_total{result="storage-full"}': "0x10 0+1x10 10x50",
        },
        {"200s": [Expected({"result": "storage-full"}, "Appends are refused: storage-full")]},
        ["100s", "150s", "540s"],
    ),
    AlertCase(
        "ForeshockDiskFilling",
        {
            'foreshock_disk_free_bytes{instance="low"}': "1073741824x99",
            # Ten gibibytes, which ten megabytes every ten seconds fill within three hours
            'foreshock_disk_free_bytes{instance="soon"}': "10737418240-10000000x99",
            'foreshock_disk_free_bytes{instance="room"}': "10737418240x99",
        },
        {
            "920s": [
                Expected({"instance": "low"}, "1GiB left on the collector's disk: " + _FULL),
                Expected({"instance": "soon"}, "9.143GiB left on the collector's disk: " + _FULL),
            ]
        },
        ["890s"],
    ),
    AlertCase(
        "ForeshockFramesLost",
        {"foreshock_lost_frames_total": "0x5 30x80"},
        {"70s": [Expected({}, "Probes had to drop 30 frames")]},
        ["50s", "700s"],
    ),
    AlertCase(
        "ForeshockNotificationsFailing",
        {
            _FAILED: "0x5 0+1x30 30x60",
            _SENT: "3x95",
            # This one stumbles and goes on
            'foreshock_notifications_total{notifier="log", result="failed"}': "0+1x60",
            'foreshock_notifications_total{notifier="log", result="delivered"}': "0+1x95",
        },
        {"400s": [Expected({"notifier": "team"}, "team takes no notifications")]},
        ["50s", "330s", "960s"],
    ),
    AlertCase(
        "ForeshockNotificationsGivenUp",
        {_GIVEN_UP: "0 0 0 0 0 0 2x400", _SENT: "0+1x400"},
        {"3600s": [Expected({"notifier": "team"}, "2 notification(s) to team were given up")]},
        ["50s", "3670s"],
    ),
    AlertCase(
        "ForeshockRulesRefused",
        {"foreshock_rules_problems": "0 2x8 0"},
        {"70s": [Expected({}, "The rules file has 2 problem(s); older rules judge")]},
        ["60s", "100s"],
    ),
    AlertCase(
        "ForeshockRunsHidden",
        {"foreshock_live_runs_truncated": "0 3x33 0x9"},
        {"310s": [Expected({}, "3 live run(s) are not on /metrics")]},
        ["300s", "360s"],
    ),
)
