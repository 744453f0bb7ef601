"""Recording and alerting rules, and the file that Prometheus reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

Severity = Literal["warning", "critical"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A series that is worked out at every evaluation; named level:metric:operation."""

    name: str
    expr: str

    def document(self) -> dict[str, Any]:
        """The rule as Prometheus has it."""
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True)
class Alerting:
    """An alert.

    severity: None where the series themselves say it.
    summary: one line, in which Prometheus fills in labels and value; description: what to do, as it is.
    holds_for: how long the expression must give a series before the alert fires.
    """

    name: str
    expr: str
    severity: Severity | None
    summary: str
    description: str
    holds_for: str = "0s"
    annotations: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The rule as Prometheus has it."""
        said: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.holds_for != "0s":
            said["for"] = self.holds_for
        if self.severity is not None:
            said["labels"] = {"severity": self.severity}
        told = {"summary": self.summary, "description": self.description, **self.annotations}
        return {**said, "annotations": told}


@dataclass(frozen=True, slots=True)
class RuleFile:
    """One file with one group: its rules are evaluated in their order, so alerts may use what is recorded."""

    name: str
    about: str
    rules: Sequence[Recording | Alerting]

    def text(self) -> str:
        """The file's content."""
        group = {"name": f"foreshock_{self.name}", "rules": [rule.document() for rule in self.rules]}
        return f"# {self.about}\n{WRITTEN}\n" + dump({"groups": [group]})


WRITTEN = "# Written by `python -m foreshock.dashboards.prometheus`; change the code, not this file."


def dump(document: Mapping[str, Any]) -> str:
    """YAML in the order in which things were said, every line whole."""
    return yaml.safe_dump(dict(document), sort_keys=False, width=10_000, allow_unicode=True)
