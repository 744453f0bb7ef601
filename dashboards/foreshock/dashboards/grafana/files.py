"""The boards that Grafana loads, by their path in this folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from foreshock.dashboards.grafana.fleet import fleet
from foreshock.dashboards.grafana.run import run

FOLDER: Final = Path(__file__).parent


def render() -> Iterator[tuple[Path, str]]:
    """Each file's path and content, as the code has it now."""
    for name, draw in (("fleet", fleet), ("run", run)):
        yield FOLDER / "boards" / f"{name}.json", draw()
