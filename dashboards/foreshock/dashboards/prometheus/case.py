"""Cases by which `promtool test rules` tries the rules: what must fire when, and what must not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from foreshock.dashboards.prometheus.rule import WRITTEN, Alerting, Recording, RuleFile, dump

INTERVAL = "10s"


@dataclass(frozen=True, slots=True)
class Expected:
    """An alert as it must fire: its labels, and its summary with everything filled in."""

    labels: Mapping[str, str]
    summary: str
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertCase:
    """Series, at which times an alert fires over them and as what, and at which times it must be quiet.

    series: values every ten seconds from 0 on, in promtool's notation.
    """

    alert: str
    series: Mapping[str, str]
    fires: Mapping[str, Sequence[Expected]]
    quiet_at: Sequence[str]

    def document(self, rules: Mapping[str, Recording | Alerting]) -> dict[str, Any]:
        """The case in promtool's form; raises KeyError for an alert that there is not."""
        rule = rules[self.alert]
        if not isinstance(rule, Alerting):
            raise TypeError(f"{self.alert} records a series: try it by a RecordCase")
        tests = [
            {
                "eval_time": time,
                "alertname": self.alert,
                "exp_alerts": [_alert(rule, one) for one in expected],
            }
            for time, expected in [*self.fires.items(), *((time, ()) for time in self.quiet_at)]
        ]
        return {**_inputs(self.alert, self.series), "alert_rule_test": tests}


@dataclass(frozen=True, slots=True)
class RecordCase:
    """Series, and the samples that a recording rule must have at a time: value by labels."""

    record: str
    series: Mapping[str, str]
    at: str
    samples: Mapping[str, float]

    def document(self, rules: Mapping[str, Recording | Alerting]) -> dict[str, Any]:
        """The case in promtool's form; raises KeyError for a series that nothing records."""
        name = rules[self.record].name
        samples = [{"labels": f"{name}{labels}", "value": value} for labels, value in self.samples.items()]
        test = {"expr": name, "eval_time": self.at, "exp_samples": samples}
        return {**_inputs(name, self.series), "promql_expr_test": [test]}


def case_file(files: Sequence[RuleFile], cases: Sequence[AlertCase | RecordCase]) -> str:
    """What `promtool test rules` reads, beside the folder `rules`."""
    rules = {rule.name: rule for file in files for rule in file.rules}
    document = {
        "rule_files": [f"rules/{file.name}.yml" for file in files],
        "evaluation_interval": INTERVAL,
        "tests": [case.document(rules) for case in cases],
    }
    return f"# promtool test rules cases.yml\n{WRITTEN}\n" + dump(document)


def _inputs(name: str, series: Mapping[str, str]) -> dict[str, Any]:
    given = [{"series": one, "values": values} for one, values in series.items()]
    return {"name": name, "interval": INTERVAL, "input_series": given}


def _alert(rule: Alerting, expected: Expected) -> dict[str, Any]:
    severity = {} if rule.severity is None else {"severity": rule.severity}
    told = {"summary": expected.summary, "description": rule.description, **expected.annotations}
    return {"exp_labels": {**severity, **expected.labels}, "exp_annotations": told}
