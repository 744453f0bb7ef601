"""Prometheus' rules: what is committed is what the code says, and promtool tries every rule."""

import shutil
import subprocess
from typing import Any

import pytest
import yaml
from tests.conftest import require

from foreshock.dashboards.prometheus.case import AlertCase, RecordCase, case_file
from foreshock.dashboards.prometheus.collector_rules import COLLECTOR_RULES
from foreshock.dashboards.prometheus.files import CASES, FOLDER, RULE_FILES, render
from foreshock.dashboards.prometheus.rule import Alerting, Recording
from foreshock.dashboards.prometheus.run_rules import RUN_RULES

RULES = [rule for file in RULE_FILES for rule in file.rules]


def promtool(*arguments: Any) -> subprocess.CompletedProcess[str]:
    require(shutil.which("promtool") is not None, "promtool")
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=FOLDER)


def test_what_is_committed_is_what_the_code_says() -> None:
    rendered = dict(render())
    for path, text in rendered.items():
        assert path.read_text() == text, f"python -m foreshock.dashboards.prometheus writes {path.name} anew"
    assert {path for path in rendered if path.parent != FOLDER} == set((FOLDER / "rules").iterdir())


@pytest.mark.prometheus
def test_promtool_accepts_the_rules() -> None:
    answer = promtool("check", "rules", *sorted((FOLDER / "rules").iterdir()))
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.prometheus
def test_every_rule_does_in_every_case_what_it_should() -> None:
    answer = promtool("test", "rules", "cases.yml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize("case", CASES, ids=lambda case: getattr(case, "alert", None) or case.record)
def test_a_case_can_fail(case: AlertCase | RecordCase, tmp_path: Any) -> None:
    # The same series under a name that no rule reads
    renamed = {
        one.replace("foreshock_", "other_").replace("up{", "down{"): two for one, two in case.series.items()
    }
    bent = type(case)(**{**{name: getattr(case, name) for name in case.__slots__}, "series": renamed})
    shutil.copytree(FOLDER / "rules", tmp_path / "rules")
    (tmp_path / "cases.yml").write_text(case_file(RULE_FILES, [bent]))
    assert promtool("test", "rules", tmp_path / "cases.yml").returncode == 1


def test_every_rule_has_cases_and_every_alert_fires_and_keeps_quiet_in_them() -> None:
    recorded = {case.record for case in CASES if isinstance(case, RecordCase)}
    alerts = {case.alert: case for case in CASES if isinstance(case, AlertCase)}
    assert recorded == {rule.name for rule in RULES if isinstance(rule, Recording)}
    assert alerts.keys() == {rule.name for rule in RULES if isinstance(rule, Alerting)}
    assert all(case.fires and case.quiet_at for case in alerts.values())


def test_every_alert_is_in_the_readme() -> None:
    readme = (FOLDER.parents[2] / "README.md").read_text()
    assert all(f"`{rule.name}`" in readme for rule in RULES if isinstance(rule, Alerting))


def test_a_case_of_an_alert_must_name_one() -> None:
    with pytest.raises(TypeError, match="records a series"):
        case_file(RULE_FILES, [AlertCase("foreshock:judge_lag_seconds", {}, {}, [])])


def test_rules_that_are_always_loaded_read_nothing_that_foreshock_pushes() -> None:
    """Foreshock tells of runs by itself; of itself it cannot."""
    of_runs = {"loss", "gain", "headroom", "risk", "alerts", "heartbeat", "health"}
    for rule in COLLECTOR_RULES.rules:
        assert not any(f"foreshock_{word}" in rule.expr or f"_{word}" in rule.expr for word in of_runs), rule


def test_no_run_is_told_of_twice_by_two_collectors() -> None:
    for rule in RUN_RULES.rules:
        assert "by (run_id, run, project" in rule.expr or rule.expr.startswith("foreshock:"), rule
    assert all("page" in rule.annotations for rule in RUN_RULES.rules if isinstance(rule, Alerting))


def test_what_the_alertmanager_keeps_quiet_are_rules_that_there_are() -> None:
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    (one,) = config["inhibit_rules"]
    names = {rule.name for rule in RUN_RULES.rules}
    assert one["source_matchers"][0] == 'alertname="ForeshockRunAlert"' and "ForeshockRunAlert" in names
    (targets,) = one["target_matchers"]
    for pattern in targets.split('"')[1].split("|"):
        assert any(name.startswith(pattern.removesuffix(".+")) for name in names)
