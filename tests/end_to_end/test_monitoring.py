"""A real Prometheus scrapes a real collector that asks for tokens, and fires to a real Alertmanager."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.dashboards.synthetic import signals
from tests.end_to_end.conftest import free_port
from tests.end_to_end.monitoring import Alertmanager, Prometheus, expressions, wait_for
from tests.server.conftest import CollectorProcess, Writer

pytestmark = pytest.mark.prometheus

ADMIN = "a" * 32
BOARDS = Path(__file__).parents[2] / "dashboards/foreshock/dashboards/grafana/boards"
HOSTILE = '<b>hc</b> "{{ $value }}" ${x}'
# What a healthy collector, and runs that are heard of, rightly have no series of
QUIET = {
    "ForeshockCollectorDown": "the collector answers",
    "ForeshockDatabaseDown": "its database answers",
    "ForeshockJudgeStopped": "the judge goes on",
    "ForeshockJudgeLagging": "the judge has read all",
    "ForeshockStorageFailing": "no append was refused",
    "ForeshockDiskFilling": "there is room on the disk",
    "ForeshockFramesLost": "no probe lost a frame",
    "ForeshockNotificationsFailing": "the log takes everything",
    "ForeshockNotificationsGivenUp": "the log takes everything",
    "ForeshockRulesRefused": "there is no rules file",
    "ForeshockRunsHidden": "two runs are below every bound",
    "ForeshockHeartbeatLost": "it takes two minutes of silence",
}


@dataclass
class World:
    """A collector with a run that heads for an overflow and one that is dead, watched from outside."""

    collector: CollectorProcess
    prometheus: Prometheus
    alertmanager: Alertmanager
    token: Path
    first_error: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("monitoring")
    with ExitStack() as ending:
        database = str(folder / "foreshock.db")
        environment = {"FORESHOCK_TOKEN": ADMIN, "FORESHOCK_PUBLIC_URL": "http://here"}
        port = free_port()
        collector = CollectorProcess("--port", str(port), "--db", database, environment=environment)
        ending.callback(collector.stop)
        assert collector.url() == "http://here"  # once it listens
        url = f"http://127.0.0.1:{port}"
        token = folder / "token"
        token.write_text("not-the-one")
        alertmanager = Alertmanager(folder)
        ending.callback(alertmanager.close)
        prometheus = Prometheus(folder, url, alertmanager.url, token)
        ending.callback(prometheus.close)
        error = wait_for(lambda: prometheus.target().get("lastError"), "a wrong token was not refused")
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {ADMIN}"}) as http:
            made = http.post("/api/v1/tokens", json={"name": "prometheus", "scopes": ["read"]}).json()
            # Prometheus reads the file at every scrape
            token.write_text(made["token"])
            dying, dead = Run(http, "dying", HOSTILE), Run(http, "dead", "dead", dies_at=30)
            for one in (dying, dead):
                one.train(140)
            # A rise is seen against what was recorded before it, half a second after it was scraped
            recorded = 'foreshock:composite_gain:max{run_id="dying"}'
            wait_for(lambda: prometheus.query(recorded), "no gain was recorded")
            dying.train(25)
            wait_for(
                lambda: prometheus.query("foreshock_judge_lag_steps == 0 and foreshock_last_step == 164"), ""
            )
        yield World(collector, prometheus, alertmanager, token, error)


class Run:
    """A run of every signal that has a gauge: composite gain over 10 from step 100 on, and growing."""

    def __init__(self, http: httpx.Client, run_id: str, name: str, dies_at: int | None = None) -> None:
        random = np.random.default_rng(0)
        made = signals(0, 200, slope=0.006, dies_at=dies_at)
        alone = ("canary_gain", "adam_rms", "update_ratio")
        layered = (
            "max_attention_logit",
            *(f"router_{what}" for what in ("max_violation", "entropy", "dead_experts", "staleness")),
        )
        own = [*alone, *(f"{series}[{layer}]" for series in layered for layer in range(2))]
        self.columns = {**made.each_step, **made.composite, **{one: random.random(200) + 0.1 for one in own}}
        self.writer, self.trained = Writer(http, run_id), 0
        self.writer.start(*self.columns, name=name, total_steps=200, config={"precision": "fp16"})

    def train(self, num_steps: int) -> None:
        steps = range(self.trained, self.trained + num_steps)
        values = np.stack([column[list(steps)] for column in self.columns.values()], axis=1)
        assert self.writer.send(self.writer.batch(steps, values)).status_code == 200
        self.trained += num_steps


def board_expressions(name: str) -> list[str]:
    """Every expression of a board, as Grafana would send it with all runs chosen."""
    board = json.loads((BOARDS / f"{name}.json").read_text())
    found = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    found += [mark["expr"] for mark in board["annotations"]["list"]]
    for variable in board["templating"]["list"]:
        query = variable["query"]["query"]
        found.append(re.sub(r"^(label_values|query_result)\((.*?)(, \w+)?\)$", r"\2", query))
    return [re.sub(r"\$(project|run)\b", ".*", one).replace("$__rate_interval", "5s") for one in found]


def test_a_wrong_token_is_refused_and_the_right_one_is_read_from_its_file(world: World) -> None:
    assert "401" in world.first_error
    assert world.prometheus.target()["health"] == "up"
    (up,) = world.prometheus.query('up{job="foreshock"}')
    assert up["value"][1] == "1"


@pytest.mark.parametrize("board", ["fleet", "run"])
def test_every_expression_of_a_board_gives_a_series(world: World, board: str) -> None:
    found = board_expressions(board)
    assert len(found) > 20
    empty = wait_for_series(world.prometheus, {one: one for one in found})
    assert not empty


def test_every_rule_is_evaluated_and_gives_a_series_or_has_a_reason_not_to(world: World) -> None:
    exprs = {**expressions("collector.yml"), **expressions("runs.yml")}
    assert wait_for_series(world.prometheus, {n: e for n, e in exprs.items() if n not in QUIET}) == set()
    assert exprs.keys() > QUIET.keys()
    for rule in world.prometheus.rules():
        assert rule["health"] == "ok", rule
    metrics = set(re.findall(r"\b(?:foreshock[_:][a-z0-9_:]+|up)\b", " ".join(exprs.values())))
    known = set(world.prometheus.get("/api/v1/label/__name__/values")["data"])
    assert not metrics - known


def test_what_is_wrong_with_runs_reaches_the_alertmanager(world: World) -> None:
    told = wait_for(lambda: world.alertmanager.alerts("ForeshockRunAlert"), "no alert came")
    (one,) = (one for one in told if one["labels"]["rule"] == "exit_amax")
    assert one["labels"]["severity"] == "critical" and one["labels"]["run"] == HOSTILE
    assert one["annotations"]["page"] == "http://here/runs/dying"
    assert one["annotations"]["summary"] == f"{HOSTILE}: exit_amax"
    died = wait_for(lambda: world.alertmanager.alerts("ForeshockLossNotFinite"), "a death is not told")
    assert [one["labels"]["run_id"] for one in died] == ["dead"]


def test_bare_numbers_are_kept_quiet_once_the_collector_has_judged(world: World) -> None:
    def rising() -> Any:
        found = world.alertmanager.alerts("ForeshockCompositeGainRising")
        return [one for one in found if one["status"]["state"] == "suppressed"]

    (one,) = wait_for(rising, "the rising gain is not kept quiet")
    assert one["labels"]["run_id"] == "dying" and one["status"]["inhibitedBy"]


# The last: it ends the collector
def test_a_collector_that_is_killed_is_told_of_by_others(world: World) -> None:
    assert not world.alertmanager.alerts("ForeshockCollectorDown")
    world.collector.kill()
    (one,) = wait_for(lambda: world.alertmanager.alerts("ForeshockCollectorDown"), "nobody was told")
    assert one["labels"]["severity"] == "critical" and one["status"]["state"] == "active"


def wait_for_series(prometheus: Prometheus, exprs: dict[str, str]) -> set[str]:
    """The names of the expressions that give nothing, however long one waits for their rates."""
    empty = set(exprs)

    def all_there() -> bool:
        empty.difference_update({name for name in empty if prometheus.query(exprs[name])})
        return not empty

    try:
        wait_for(all_there, "", seconds=15)
    except AssertionError:
        pass
    return empty
