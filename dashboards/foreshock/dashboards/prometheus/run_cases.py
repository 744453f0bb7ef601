"""Cases for the rules about runs."""

from collections.abc import Mapping, Sequence
from typing import Final

from foreshock.dashboards.prometheus.case import AlertCase, Expected, RecordCase

_INFO: Final = {'foreshock_collector_info{address="http://here:8787", version="1"}': "1x400"}
_OF_RUN: Final = 'run_id="a", run="hc", project="p"'
_RUN: Final = {"run_id": "a", "run": "hc", "project": "p"}
_BOTH_COLLECTORS: Final = ('instance="one"', 'instance="two"')


def _series(name: str, values: str, labels: str = "") -> dict[str, str]:
    """A run's series as two collectors on one database tell it: which must not alert twice."""
    more = f", {labels}" if labels else ""
    return {f"{name}{{{_OF_RUN}{more}, {one}}}": values for one in _BOTH_COLLECTORS}


def _case(
    alert: str, series: Mapping[str, str], fires: Mapping[str, str], quiet_at: Sequence[str]
) -> AlertCase:
    """A case of one run; what fires has the link to its page."""
    page = {"page": "http://here:8787/runs/a"}
    expected = {at: [Expected(_RUN, f"hc: {summary}", page)] for at, summary in fires.items()}
    return AlertCase(alert, {**series, **_INFO}, expected, quiet_at)


RUN_CASES: Final = (
    RecordCase(
        "foreshock:composite_gain:max",
        {
            **_series("foreshock_composite_gain_worst", "5x9", 'direction="forward"'),
            **_series("foreshock_composite_gain_worst", "1 12x8", 'direction="backward"'),
        },
        "20s",
        {f"{{{_OF_RUN}}}": 12},
    ),
    AlertCase(
        "ForeshockRunAlert",
        {
            **_series("foreshock_firing_alerts", "_ _ 1 2 stale", 'rule="exit_amax", severity="critical"'),
            **_series("foreshock_firing_alerts", "1x9", 'rule="no_data", severity="info"'),
            **_INFO,
        },
        {
            "30s": [
                Expected(
                    {**_RUN, "rule": "exit_amax", "severity": "critical"},
                    "hc: exit_amax",
                    {"page": "http://here:8787/runs/a"},
                )
            ]
        },
        ["10s", "40s"],
    ),
    _case(
        "ForeshockCompositeGainRising",
        # Rises from 9 to 20 and stays there; ten minutes later nothing rises any more
        _series("foreshock_composite_gain_worst", "9x5 9+1x11 20x90", 'direction="forward"'),
        {"150s": "composite Amax gain 18, and rising"},
        ["60s", "120s", "780s"],
    ),
    _case(
        "ForeshockHeadroomRunningOut",
        # Nine doublings, of which a fifth goes every ten seconds
        _series("foreshock_headroom_doublings", "9x5 9-0.2x30 3x90"),
        {"300s": "4.2 doublings left, gone within half an hour at this pace"},
        ["50s", "180s", "960s"],
    ),
    _case(
        "ForeshockHeadroomLow",
        _series("foreshock_headroom_doublings", "9 2 1.5 -Inf 9"),
        {
            "20s": "1.5 doublings left before the stream overflows",
            "30s": "-Inf doublings left before the stream overflows",
        },
        ["10s", "40s"],
    ),
    _case(
        "ForeshockForecastRisk",
        {
            **_series("foreshock_forecast_risk", "0.1 0.4 0.75x8 0.2", 'horizon="10%"'),
            **_series("foreshock_forecast_risk", "0.9x12", 'horizon="5%"'),
        },
        {"90s": "a spike or divergence within 10 % of the run is 75% likely"},
        ["10s", "70s", "110s"],
    ),
    _case(
        "ForeshockLossNotFinite",
        _series("foreshock_loss", "2 2 2 NaN +Inf -Inf 2"),
        {at: "the loss is not finite" for at in ("30s", "40s", "50s")},
        ["20s", "60s"],
    ),
    _case(
        "ForeshockHeartbeatLost",
        _series("foreshock_heartbeat_timestamp_seconds", "0x20 210x5"),
        {"130s": "nothing heard for 2m 10s"},
        ["120s", "230s"],
    ),
)
