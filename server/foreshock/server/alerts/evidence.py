"""What the restart verdict is reached on: a project's runs with their groups, alerts and faults."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from foreshock.server.detection.context import RunContext
from foreshock.server.detection.run_facts import RunFacts, WarningAlert
from foreshock.server.detection.stress_test import EVENT_RULES, NO_WARNING, STRESS_TAG
from foreshock.server.errors import UnknownProjectError
from foreshock.server.store.engine import reading
from foreshock.server.store.grouping import GROUP, check_grouping, flat_settings, group_keys
from foreshock.server.store.schema import IS_KEPT, alerts, records, runs
from foreshock.server.store.search import config_value
from foreshock.wire import Event, decode_record

# Where a configuration says how streams are connected; a project is grouped by the first that tells
CONNECTION_KEYS: Final = ("connection", "model.connection")
BASELINES: Final = ("hc", "none", "unconstrained")
# An event of this kind, `probe.note("fault")`, marks where a planted fault begins
FAULT: Final = "fault"
_FAULT_KEYS: Final = ("fault_step", "stress.fault_step", "model.fault_step")
# Follow from the machine or from what is compared, and say nothing more of what was trained
_ASIDE: Final = re.compile(
    r"(.*\.)?(seed|run_id|name|url|directory|command|host|platform|python|cpu|cpu_count|memory_bytes|num_threads|"
    r"num_parameters|num_mixing_layers|connection|version_.*|env_.*)"
)

Rows = Sequence[sa.RowMapping]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A project's runs, oldest first, and what else of them the verdict rests on."""

    project: str
    rows: Rows
    alerts: Mapping[str, Sequence[sa.RowMapping]]
    faults: Mapping[str, int]

    def grouping(self) -> str:
        """What tells constrained runs from unconstrained ones: a connection's key, else their group."""
        for key in CONNECTION_KEYS:
            if any(group_keys(row, key) for row in self.rows):
                return key
        return GROUP

    def check(self, group_by: str) -> None:
        """Raises InvalidError for a key that cannot make groups."""
        check_grouping(self.rows, group_by)

    def facts(self, group_by: str) -> list[RunFacts]:
        """One a run and group; a stress test of no group goes by its tag, and has one."""
        found = []
        for row in self.rows:
            is_stress = STRESS_TAG in row["tags"]
            keys = [key for key in group_keys(row, group_by) if not (is_stress and key == STRESS_TAG)]
            for key in (keys or [STRESS_TAG])[:1] if is_stress else keys:
                found.append(self._facts(row, key, is_stress))
        return found

    def constrained_keys(self, group_by: str) -> list[str]:
        """Groups of which every run is declared, or found by its connection, to be constrained."""
        by_key: dict[str, list[bool]] = defaultdict(list)
        for row in self.rows:
            if STRESS_TAG not in row["tags"]:
                for key in group_keys(row, group_by):
                    by_key[key].append(_is_constrained(row))
        return [key for key, members in by_key.items() if all(members)]

    def baseline_key(self, group_by: str, constrained: Sequence[str]) -> str | None:
        """The unconstrained group by its usual name, else the only one that is left."""
        named = [row for row in self.rows if STRESS_TAG not in row["tags"]]
        keys = dict.fromkeys(key for row in named for key in group_keys(row, group_by))
        others = [key for key in keys if key not in constrained]
        usual = [key for name in BASELINES for key in others if key.lower() == name]
        return usual[0] if usual else others[0] if len(others) == 1 else None

    def settings(self, group_by: str, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """The configurations of these groups' runs, flat, without what follows from machine or connection."""
        found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
        for row in self.rows:
            if STRESS_TAG not in row["tags"]:
                for key in set(group_keys(row, group_by)) & found.keys():
                    told = flat_settings(row["config"])
                    found[key].append({name: value for name, value in told if not _is_aside(name)})
        return found

    def _facts(self, row: sa.RowMapping, key: str, is_stress: bool) -> RunFacts:
        summary: Mapping[str, Any] = row["summary"]
        own = [one for one in self.alerts.get(row["run_id"], ()) if one["attempt"] == row["attempt"]]
        fault_step = _fault_step(row, self.faults) if is_stress else None
        return RunFacts(
            run_id=row["run_id"],
            name=row["name"],
            key=key,
            seed=row["seed"],
            state=row["state"],
            total_steps=row["total_steps"],
            last_step=row["last_step"] if row["last_step"] >= 0 else None,
            log_peak_gain=_number(summary.get("peak_composite_log")),
            final_loss=_number(summary.get("final_loss")),
            died=summary.get("died_step") is not None,
            has_layers=bool(summary.get("has_layers")),
            is_stress=is_stress,
            warnings=tuple(WarningAlert(one["fired_step"], one["rule"]) for one in own if _warns(one)),
            fault_step=fault_step,
            onset_step=_onset(own, summary.get("died_step"), fault_step or 0) if is_stress else None,
        )


def gather(engine: sa.Engine, project: str) -> Evidence:
    """Reads it in one snapshot; raises UnknownProjectError for a project without runs."""
    of_project = (runs.c.project == project, IS_KEPT)
    with reading(engine) as connection:
        query = sa.select(runs).where(*of_project).order_by(runs.c.started_at, runs.c.run_id)
        rows = connection.execute(query).mappings().all()
        if not rows:
            raise UnknownProjectError(
                f"project {project[:200]!r} has no run here: GET /api/v1/projects lists those that have"
            )
        run_ids = sa.select(runs.c.run_id).where(*of_project)
        fired = sa.select(alerts).where(alerts.c.run_id.in_(run_ids), alerts.c.fired_step.is_not(None))
        by_run: dict[str, list[sa.RowMapping]] = defaultdict(list)
        for one in connection.execute(fired.order_by(alerts.c.fired_step, alerts.c.alert_id)).mappings():
            by_run[one["run_id"]].append(one)
        faults = {
            row["run_id"]: step
            for row in rows
            if STRESS_TAG in row["tags"] and (step := _noted_fault(connection, row)) is not None
        }
    return Evidence(project, rows, by_run, faults)


@lru_cache(maxsize=4096)
def _is_aside(name: str) -> bool:
    return _ASIDE.fullmatch(name) is not None


def _noted_fault(connection: sa.Connection, row: sa.RowMapping) -> int | None:
    """The first step at which a run of its newest attempt noted a fault."""
    of_run = (records.c.run_id == row["run_id"], records.c.attempt == row["attempt"])
    query = sa.select(records.c.body).where(*of_run, records.c.kind == "event")
    events = (decode_record(body) for body in connection.execute(query).scalars())
    steps = [one.step for one in events if isinstance(one, Event) and one.kind == FAULT]
    return min(steps, default=None)


def _fault_step(row: sa.RowMapping, noted: Mapping[str, int]) -> int | None:
    """Where the first fault begins, as noted or declared: `fault_step`, or `faults` as "kind@step ..."."""
    config = row["config"]
    found = [noted[row["run_id"]]] if row["run_id"] in noted else []
    for key in _FAULT_KEYS:
        value = config_value(config, key)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            found.append(value)
    planted = config.get("faults")
    if isinstance(planted, str):
        found += [int(step) for step in re.findall(r"@(\d{1,15})\b", planted)]
    elif isinstance(planted, list):
        steps = [one.get("step") for one in planted if isinstance(one, dict)]
        found += [step for step in steps if isinstance(step, int) and step >= 0]
    return min(found, default=None)


def _is_constrained(row: sa.RowMapping) -> bool:
    named = (config_value(row["config"], key) for key in CONNECTION_KEYS)
    connection = next((name for name in named if isinstance(name, str)), None)
    return RunContext(None, row["constraint_name"], {"connection": connection}).is_constrained


def _warns(alert: sa.RowMapping) -> bool:
    return alert["rule"] not in NO_WARNING and alert["severity"] != "info"


def _onset(own: Sequence[sa.RowMapping], died_step: int | None, start: int) -> int | None:
    """When the loss went, from the run's own alerts: that it spiked, or was no number, from `start` on."""
    of_loss = (one for one in own if one["rule"] in EVENT_RULES and one["subject"] == "loss")
    steps = [*(one["opened_step"] for one in of_loss), *([] if died_step is None else [died_step])]
    return min((step for step in steps if step >= start), default=None)


def _number(value: float | str | None) -> float | None:
    """A number of a summary, whose JSON spells the infinite ones; NaN counts as none."""
    if value is None or math.isnan(float(value)):
        return None
    return float(value)
