"""Actions: nothing before they are armed, then each once, in order, whatever the others do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from foreshock.probe import AttachError, StopTraining, attach
from foreshock.probe.actions import Actions, LowerRate, SaveCheckpoint, StopCleanly, SwitchRouting
from foreshock.wire import Alert

ALERT = Alert(
    number=1, alert_id=7, run_id="r", attempt=0, rule="exit_amax", claim="rule", severity="critical",
    state="firing", subject="layer 0", step=7, value=12.5, reason="because", advice="stop", time=0.0,
)  # fmt: skip


def test_unarmed_they_only_say_what_they_would_do(
    loop: Any, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    saved: list[Alert] = []
    actions = Actions(SaveCheckpoint(saved.append), LowerRate(loop.optimizer, 0.1), StopCleanly())
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, on_alert=actions)
    probe._alerts.append(ALERT)
    probe.step(loop.step())
    probe.finish()
    assert not saved and loop.optimizer.param_groups[0]["lr"] == 1e-3
    told = [event.detail for event in read_spool(probe).events if event.kind == "action"]
    assert [detail["name"] for detail in told] == ["checkpoint", "rate x 0.1", "stop"]
    assert told[0] == {"name": "checkpoint", "rule": "exit_amax", "alert": 7, "armed": False}


def test_armed_all_are_done_before_the_training_stops(loop: Any, tmp_path: Path) -> None:
    saved: list[Alert] = []
    actions = Actions(
        StopCleanly(), SaveCheckpoint(saved.append), LowerRate(loop.optimizer, 0.1),
        SwitchRouting(saved.append), armed=True,
    )  # fmt: skip
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, on_alert=actions)
    probe._alerts.append(ALERT)
    with pytest.raises(StopTraining, match="exit_amax: because"):
        probe.step(loop.step())
    probe.finish()
    assert saved == [ALERT, ALERT] and loop.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)


def test_one_that_fails_keeps_none_from_being_done(loop: Any, tmp_path: Path) -> None:
    def fail(alert: Alert) -> None:
        raise OSError("disk full")

    saved: list[Alert] = []
    actions = Actions(SaveCheckpoint(fail), SaveCheckpoint(saved.append), armed=True)
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, on_alert=actions)
    probe._alerts.append(ALERT)
    probe.step(loop.step())
    probe.finish()
    assert saved == [ALERT] and probe.faults.counts == {"on_alert: ExceptionGroup": 1}


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"state": "resolved"}, False),
        ({"severity": "info"}, False),
        ({"severity": "warning"}, True),
        ({"rule": "loss_spike"}, False),
    ],
)
def test_which_alerts_count(change: dict[str, Any], counts: bool) -> None:
    seen: list[Alert] = []
    actions = Actions(SaveCheckpoint(seen.append), rules=["exit_amax"], severity="warning", armed=True)
    actions(msgspec.structs.replace(ALERT, **change))
    assert bool(seen) == counts


def test_a_lowered_rate_stays_lowered_under_a_scheduler() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [parameter], "lr": torch.tensor(0.8)}], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    lower = LowerRate(optimizer, 0.5, scheduler=scheduler)
    for _ in range(3):
        lower(ALERT)
        optimizer.step()
        scheduler.step()
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.4)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(AttachError, match="between 0 and 1"):
        LowerRate(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1), 1.5)
    with pytest.raises(AttachError, match="choose one of info, warning, critical"):
        Actions(severity="urgent")
