"""What is known of a run when it is scored: its length, first event, faults and forks, in rows.

A row is a trained step, as recorded. In a run that went back to an earlier step rows go on counting, so
that a lead is a number of steps that were trained. Only a run's first event is scored: what comes after
it happens to a model that is damaged already.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import RecordError
from foreshock.reference_models.scenarios.events import Kind
from foreshock.reference_models.scenarios.labelling import LABELS, LABELS_VERSION, label_record
from foreshock.reference_models.scenarios.record import RunRecord, write_atomically

EARLIEST_SHARE: Final = 0.3
LEAST_LEAD_STEPS: Final = 20
LEAST_LEAD_SHARE: Final = 0.01
# An event that begins so soon after a planted fault is the fault: nothing before it could tell of it
AT_FAULT_STEPS: Final = 3


@dataclass(frozen=True, slots=True)
class Fork:
    """A stress fork's label: before `row` the run is itself. `at_risk` is None where it is undecided."""

    share: float
    row: int
    at_risk: bool | None


@dataclass(frozen=True, slots=True)
class ScoredRun:
    """One labelled run. `unscored` says why it does not count, None where it does."""

    run_id: str
    family: str
    expected: str
    scenario: str
    connection: str | None
    total_steps: int
    num_rows: int
    onset: int | None = None
    kind: Kind | None = None
    num_events: int = 0
    has_diverged: bool = False
    fault_rows: tuple[int, ...] = ()
    forks: tuple[Fork, ...] = ()
    unscored: str | None = None

    @property
    def is_exogenous(self) -> bool:
        """Whether what happens in it comes from outside, so that nothing can foretell it."""
        return self.expected == "exogenous"

    @property
    def is_positive(self) -> bool:
        """Whether its event counts for recall. Labels decide, not what its scenario was meant to show."""
        return self.onset is not None and not self.is_exogenous

    @property
    def is_at_fault(self) -> bool:
        """Whether its event begins with a planted fault."""
        onset = self.onset
        return onset is not None and any(0 <= onset - row <= AT_FAULT_STEPS for row in self.fault_rows)

    @property
    def least_lead(self) -> int:
        """Steps before the onset by which a warning must have come."""
        return max(LEAST_LEAD_STEPS, round(LEAST_LEAD_SHARE * self.total_steps))

    @property
    def earliest_lead(self) -> int:
        """Steps before the onset from which on a warning is of this event."""
        return max(self.least_lead, round(EARLIEST_SHARE * self.total_steps))

    @property
    def healthy_end(self) -> int:
        """The rows before this are healthy: an event forecast that begins in them is false.

        All of a run without an event; else those before its lead window. Of an exogenous run those before
        its first fault: nothing that is planted later can be foreseen, and what is hurt is not healthy,
        whether its loss shows an event or not.
        """
        if self.is_exogenous and self.fault_rows:
            return self.fault_rows[0]
        return self.num_rows if self.onset is None else max(0, self.onset - self.earliest_lead)

    @property
    def eligible_end(self) -> int:
        """The rows up to the first event's onset, which is the last of them; all where there is none."""
        return self.num_rows if self.onset is None else self.onset + 1


def scored_run(record: RunRecord) -> ScoredRun:
    """A record with its labels; labels that are missing or of another recording are made, and written.

    Raises RecordError and LabelError for a record that cannot be labelled.
    """
    manifest = record.manifest
    steps = record.table(["step"])["step"].to_numpy()
    told = _labels(record)
    labels, forks = told["labels"], told.get("stress_forks") or ()
    events = labels["events"]
    faults = (manifest.get("config") or {}).get("faults") or ()
    run = ScoredRun(
        run_id=record.run_id,
        family=str(manifest.get("family")),
        expected=str(manifest.get("class")),
        scenario=str(manifest.get("scenario")),
        connection=((manifest.get("config") or {}).get("model") or {}).get("connection"),
        total_steps=labels["total_steps"],
        num_rows=len(steps),
        fault_rows=tuple(
            sorted(_row(steps, fault["step"]) for fault in faults if fault["step"] <= steps.max())
        ),
        forks=tuple(
            Fork(point["share"], _row(steps, point["step"]), point["at_risk"])
            for point in forks
            if point["step"] <= steps.max()
        ),
        unscored=labels["unscored"],
    )
    return relabelled(run, steps, [(event["kind"], event["onset_step"]) for event in events])


def relabelled(run: ScoredRun, steps: NDArray[np.int64], events: Sequence[tuple[Kind, int]]) -> ScoredRun:
    """The same run with other events, each a kind and the step of its onset, in order."""
    return replace(
        run,
        onset=_row(steps, events[0][1]) if events else None,
        kind=events[0][0] if events else None,
        num_events=len(events),
        has_diverged=any(kind == "divergence" for kind, _ in events),
    )


def _labels(record: RunRecord) -> dict[str, Any]:
    """What labels.json says, if it speaks of this very recording."""
    path = record.folder / LABELS
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError):
        told = None
    is_current = (
        isinstance(told, dict)
        and told.get("format_version") == LABELS_VERSION
        and told.get("sha256") == record.manifest.get("sha256")
        and isinstance(told.get("labels"), dict)
    )
    if is_current:
        known: dict[str, Any] = told
        return known
    made = plain_json.dump({"format_version": LABELS_VERSION, **label_record(record).as_dict()})
    try:
        write_atomically(path, made.encode())
    except OSError:
        # A folder that may only be read is scored all the same; it is labelled anew each time
        pass
    labelled: dict[str, Any] = json.loads(made)
    return labelled


def _row(steps: NDArray[np.int64], step: int) -> int:
    """The first row of a step, or of the first later one where it was not recorded."""
    rows = np.flatnonzero(steps >= step)
    if not len(rows):
        raise RecordError(f"step {step} is labelled, but the last recorded is {steps.max()}; label it again")
    return int(rows[0])
