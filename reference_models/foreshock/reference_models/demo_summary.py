"""What the demo found, gathered from the collector after the last run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from foreshock.reference_models.demo_plan import PlannedRun, TrainingProcess
from foreshock.reference_models.observatory import AlertLine, Observatory, read_number


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How one run went. Peaks are over steps, layers and both directions."""

    run_id: str
    name: str
    connection: str
    seed: int
    died_step: int | None
    last_step: int | None
    final_loss: float | None
    peak_gain_mean: float | None
    peak_gain_max: float | None
    failure: str | None
    alerts: tuple[AlertLine, ...]

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        if self.failure is not None:
            return f"did not run: {self.failure}"
        if self.died_step is not None:
            return f"died at step {self.died_step}"
        return f"lived to step {self.last_step}"


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """The whole demo: where it can be looked at, its runs, and the verdict over the seeds."""

    page: str
    directory: str
    project: str
    seconds: float
    runs: tuple[RunSummary, ...]
    verdict: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return asdict(self)


def gather(
    observatory: Observatory,
    plans: Sequence[PlannedRun],
    started: dict[str, TrainingProcess],
    directory: str,
    seconds: float,
) -> DemoSummary:
    """Waits until the collector has judged all runs, then reads what it says of them."""
    observatory.wait_until_judged([plan.run_id for plan in plans])
    rows = observatory.runs()
    ordered = sorted(plans, key=lambda plan: (plan.connection, plan.seed))
    runs = tuple(
        _summarise(observatory, plan, rows.get(plan.run_id), started[plan.run_id].failure) for plan in ordered
    )
    page = f"{observatory.url}/compare?project={observatory.project}"
    return DemoSummary(page, directory, observatory.project, seconds, runs, observatory.verdict())


def _summarise(
    observatory: Observatory, plan: PlannedRun, row: dict[str, Any] | None, failure: str | None
) -> RunSummary:
    known = row["summary"] if row else {}
    has_steps = row is not None and row["last_step"] >= 0
    return RunSummary(
        run_id=plan.run_id,
        name=plan.name,
        connection=plan.connection,
        seed=plan.seed,
        died_step=known.get("died_step"),
        last_step=row["last_step"] if row else None,
        # What a dead run had last is no final loss, as compare and verdict say too
        final_loss=None if known.get("died_step") is not None else read_number(known.get("final_loss")),
        peak_gain_mean=observatory.peak(plan.run_id, "mean") if has_steps else None,
        peak_gain_max=observatory.peak(plan.run_id, "max") if has_steps else None,
        failure=failure,
        alerts=tuple(observatory.timeline(row)) if row else (),
    )
