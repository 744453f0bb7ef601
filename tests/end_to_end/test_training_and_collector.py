"""A probe and a real collector: what is declared is taken, and an alert comes back into the loop."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from torch import Tensor, nn

from foreshock.probe import Alert, StopTraining, attach


class GrowingMixing(nn.Module):
    """Streams that are mixed by ever more than 1: what unconstrained matrices may learn."""

    is_stream_mixing = True

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x_BSnC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates = x_BSnC.new_ones(x_BSnC.shape[:3])
        h_res_BSnn = self.gain * torch.eye(x_BSnC.shape[2]).expand(*x_BSnC.shape[:2], -1, -1)
        return gates, gates, h_res_BSnn


class GrowingModel(nn.Module):
    """Eight such layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GrowingMixing() for _ in range(8))
        self.head = nn.Linear(4, 1)

    def forward(self, x_BSnC: Tensor) -> Tensor:
        for layer in self.layers:
            x_BSnC = layer(x_BSnC)[2] @ x_BSnC
        return self.head(x_BSnC.mean((1, 2)))


def test_an_exit_alert_reaches_the_loop_in_time_to_stop_it(collector: Any, tmp_path: Path) -> None:
    alerts: list[Alert] = []

    def on_alert(alert: Alert) -> None:
        alerts.append(alert)
        if alert.rule == "exit_amax" and alert.state == "firing":
            raise StopTraining

    model = GrowingModel()
    steps = 0
    with (
        pytest.raises(StopTraining),
        attach(model, url=collector.url, directory=tmp_path, total_steps=2000, on_alert=on_alert) as probe,
    ):
        for steps in range(2000):
            with torch.no_grad():
                for layer in model.layers:
                    layer.gain.mul_(1.005)
            loss = 3.0 + 2.0 / (steps + 1) + model(torch.ones(2, 3, 4, 4)).mean().detach() * 0
            probe.step(loss)
            time.sleep(0.02)
    assert steps < 1999
    fired = alerts[-1]
    assert fired.severity == "critical" and fired.value is not None and fired.value > 10
    assert "over 10" in fired.reason and fired.advice
    stored = httpx.get(f"{collector.url}/api/v1/runs/{probe.run_id}/alerts").json()["alerts"]
    assert {"exit_amax"} <= {alert["rule"] for alert in stored}
    assert httpx.get(f"{collector.url}/api/v1/runs/{probe.run_id}").json()["state"] == "finished"


def test_the_longest_that_attach_allows_is_taken_by_the_collector(collector: Any, tmp_path: Path) -> None:
    probe = attach(
        nn.Linear(1, 1),
        url=collector.url,
        directory=tmp_path,
        run_id="x" * 64,
        name="ñ" * 200,
        project="p" * 200,
        group="g" * 200,
        tags=[f"{i:0100d}" for i in range(50)],
        seed=2**63 - 1,
        total_steps=2**53,
        config={f"key {i}": "\u2028" * 500 for i in range(2000)},
    )
    probe.step(1.0)
    probe.finish()
    run = httpx.get(f"{collector.url}/api/v1/runs/{'x' * 64}").json()
    assert run["state"] == "finished" and run["name"] == "ñ" * 200 and len(run["tags"]) == 50
    assert "key" in run["config"]["left_out_of_config"]
