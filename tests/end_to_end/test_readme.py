"""What the README promises: its quick start runs, its commands exist, its rooms and links are there."""

import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_quick_start_runs_and_is_stored(
    collector: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_URL", collector.url)
    monkeypatch.setenv("FORESHOCK_DIR", str(tmp_path))
    code = re.search(r"<!-- tested: quick start -->\n```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    exec(compile(code[1], "README.md", "exec"), {})
    (run,) = httpx.get(f"{collector.url}/api/v1/runs").json()["runs"]
    assert (run["project"], run["name"], run["state"], run["last_step"]) == (
        "quick-start",
        "tanh",
        "finished",
        49,
    )
    answer = httpx.get(f"{collector.url}/api/v1/runs/{run['run_id']}/series?column=loss").json()
    assert sum(answer["series"][0]["count"]) == 50


def test_every_command_is_told() -> None:
    told = set(re.findall(r"^\| `foreshock (\w+)`", README, re.MULTILINE))
    assert told == {entry.name for entry in entry_points(group="foreshock.commands")}


def test_every_path_and_link_exists() -> None:
    paths = re.findall(r"^    ([a-z_]+/\S*)", README, re.MULTILINE)
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(paths) >= 8 and links
    missing = [path for path in (*paths, *links) if not (ROOT / path).exists()]
    assert missing == []


@pytest.mark.parametrize("room", ["probe", "kernels", "reference_models", "server", "dashboards"])
def test_every_room_has_its_page(room: str) -> None:
    page = (ROOT / room / "README.md").read_text()
    assert len(page) > 500
