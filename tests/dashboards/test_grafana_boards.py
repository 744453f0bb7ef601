"""Grafana's boards: what is committed is what the code says, as the types of Grafana's SDK read it."""

import json
import re
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from foreshock.dashboards.grafana.board import RUN_CHOICE
from foreshock.dashboards.grafana.files import FOLDER, render
from foreshock.dashboards.grafana.source import UID

BOARDS = {path.stem: json.loads(text) for path, text in render()}
every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def assert_holds(read: Any, written: Any, where: str = "board") -> None:
    """Whether everything that was written was read; where it was silent, the SDK reads its own defaults."""
    if isinstance(written, dict):
        for name, value in written.items():
            assert name in read, f"{where}.{name}"
            assert_holds(read[name], value, f"{where}.{name}")
    elif isinstance(written, list):
        assert len(read) == len(written), where
        for place, value in enumerate(written):
            assert_holds(read[place], value, f"{where}[{place}]")
    else:
        assert read == written, where


def test_what_is_committed_is_what_the_code_says() -> None:
    rendered = dict(render())
    for path, text in rendered.items():
        assert path.read_text() == text, f"python -m foreshock.dashboards.grafana writes {path.name} anew"
    assert rendered.keys() == set((FOLDER / "boards").iterdir())


def test_drawing_twice_draws_the_same() -> None:
    assert dict(render()) == dict(render())


@every_board
def test_the_sdks_types_read_back_what_they_wrote(board: dict[str, Any]) -> None:
    register_default_plugins()
    read = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
    # The marks' words are Prometheus' own, which the SDK does not know
    assert_holds(read, {**board, "annotations": {}})


@every_board
def test_everything_names_the_pinned_source(board: dict[str, Any]) -> None:
    provisioned = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yml").read_text())
    prometheus, alertmanager = provisioned["datasources"]
    assert prometheus["uid"] == UID and prometheus["jsonData"]["alertmanagerUid"] == alertmanager["uid"]
    used = set(re.findall(r'"datasource": \{"type": "prometheus", "uid": "([^"]+)"', json.dumps(board)))
    assert used == {UID}
    for one in [*panels(board), *board["templating"]["list"], *board["annotations"]["list"]]:
        assert one["datasource"]["uid"] == UID
    for panel in panels(board):
        assert panel["targets"] and all(target["datasource"]["uid"] == UID for target in panel["targets"])


@every_board
def test_panels_say_what_they_are_and_do_not_overlap(board: dict[str, Any]) -> None:
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + column, place["y"] + row)
            for column in range(place["w"])
            for row in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels(board):
        assert panel["description"].endswith(".") and panel["title"], panel["title"]
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == [chr(ord("A") + place) for place in range(len(refs))]


@every_board
def test_boards_cannot_be_confused_with_others(board: dict[str, Any]) -> None:
    assert board["uid"].startswith("foreshock-") and board["editable"] is False
    assert [one["name"] for one in board["templating"]["list"]] == ["foreshock", "project", "run"]


def test_links_lead_to_boards_and_pages_that_there_are() -> None:
    links = re.findall(r'"url": "([^"]+)"', json.dumps(BOARDS))
    own = {
        link.split("?")[0].removeprefix("${foreshock}") for link in links if link.startswith("${foreshock}")
    }
    assert own == {"/", "/alerts", "/runs/${__data.fields.run_id}"}
    others = {link.split("?")[0] for link in links if not link.startswith("${foreshock}")}
    assert others == {f"/d/{BOARDS['run']['uid']}"}


@pytest.mark.parametrize("name", ["hc, seed 1", 'a",run_id="evil', "<b>{x}</b>", ""])
def test_runs_are_chosen_by_id_and_read_by_name(name: str) -> None:
    """The text that Grafana makes of a series, labels in the order in which Prometheus gives them."""
    labels = {"instance": "i", "job": "foreshock", "project": "p", "run": name, "run_id": "run-1"}
    text = "foreshock_last_step{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "} 7 1"
    pattern = RUN_CHOICE.strip("/").replace("(?<", "(?P<")
    found = re.search(pattern, text)
    assert found is not None and found["value"] == "run-1"
    assert found["text"] == name.split('"')[0]
