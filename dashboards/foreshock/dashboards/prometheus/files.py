"""The files that Prometheus and promtool read, by their path in this folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from foreshock.dashboards.prometheus.case import case_file
from foreshock.dashboards.prometheus.collector_cases import COLLECTOR_CASES
from foreshock.dashboards.prometheus.collector_rules import COLLECTOR_RULES
from foreshock.dashboards.prometheus.run_cases import RUN_CASES
from foreshock.dashboards.prometheus.run_rules import RUN_RULES

FOLDER: Final = Path(__file__).parent
RULE_FILES: Final = (COLLECTOR_RULES, RUN_RULES)
CASES: Final = (*COLLECTOR_CASES, *RUN_CASES)


def render() -> Iterator[tuple[Path, str]]:
    """Each file's path and content, as the code has it now."""
    for file in RULE_FILES:
        yield FOLDER / "rules" / f"{file.name}.yml", file.text()
    yield FOLDER / "cases.yml", case_file(RULE_FILES, CASES)
