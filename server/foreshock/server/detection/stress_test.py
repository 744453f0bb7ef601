"""Was a stress test warned of in time: the three readings of "within 10 % of the steps".

    first_tenth    the warning came inside the first 10 % of the run
    after_fault    it came within 10 % of the run after a planted fault began
    before_onset   it came no earlier than 10 % of the run before the onset of the event

`first_tenth` is the documents' own wording, and decides where the run is made to fail from its start. Where
a fault begins later nothing can be seen before it, and a warning in the first tenth would be a false one:
there `after_fault` decides, which is the same reading counted from the fault. `before_onset` is told and
never decides: an earlier warning is no worse a reason to trust the monitor.

A warning is an alert of severity warning or critical, at or after the fault and before the onset, of a rule
that speaks of what is to come: that the loss has spiked, or is not finite, is no warning.
"""

from dataclasses import dataclass
from typing import Final, Literal

from foreshock.server.detection.run_facts import RunFacts, WarningAlert

SHARE: Final = 0.1
STRESS_TAG: Final = "stress"
# So soon after its cause an event is one with it: there is no step at which it could be foretold
SUDDEN_STEPS: Final = 1
# Rules that state the event itself, or that nothing comes any more
EVENT_RULES: Final = frozenset(("loss_spike", "nonfinite"))
NO_WARNING: Final = EVENT_RULES | {"heartbeat_lost"}

Reading = Literal["first_tenth", "after_fault"]
Outcome = Literal["passed", "failed", "open"]


@dataclass(frozen=True, slots=True)
class StressTest:
    """One stress test; a reading is None where it does not apply: no fault, no event, no known length."""

    run_id: str
    name: str
    key: str
    seed: int | None
    total_steps: int | None
    warning_step: int | None
    warning_rule: str | None
    fault_step: int | None
    onset_step: int | None
    first_tenth: bool | None
    after_fault: bool | None
    before_onset: bool | None
    decided_by: Reading
    outcome: Outcome
    words: str


def judge_stress_test(run: RunFacts) -> StressTest:
    """Reads a stress test: passed, failed, or open where it cannot be said yet or nothing happened."""
    warning = _first_warning(run)
    first, after, before = _read(warning, run)
    decided_by: Reading = "first_tenth" if run.fault_step is None else "after_fault"
    outcome, words = _decide(run, warning, first if run.fault_step is None else after)
    return StressTest(
        run.run_id,
        run.name,
        run.key,
        run.seed,
        run.total_steps,
        None if warning is None else warning.step,
        None if warning is None else warning.rule,
        run.fault_step,
        run.onset_step,
        first,
        after,
        before,
        decided_by,
        outcome,
        words,
    )


def _first_warning(run: RunFacts) -> WarningAlert | None:
    start = run.fault_step or 0
    early = (one for one in run.warnings if run.onset_step is None or one.step < run.onset_step)
    return min((one for one in early if one.step >= start), key=lambda one: one.step, default=None)


def _read(warning: WarningAlert | None, run: RunFacts) -> tuple[bool | None, bool | None, bool | None]:
    """Steps count from 0, so the first tenth of 200 is 0 to 19."""
    if run.total_steps is None:
        return None, None, None
    tenth, fault, onset = SHARE * run.total_steps, run.fault_step, run.onset_step
    if warning is None:
        return False, None if fault is None else False, None if onset is None else False
    return (
        warning.step < tenth,
        None if fault is None else warning.step - fault < tenth,
        None if onset is None else 0 < onset - warning.step <= tenth,
    )


def _decide(run: RunFacts, warning: WarningAlert | None, holds: bool | None) -> tuple[Outcome, str]:
    if run.total_steps is None or holds is None:
        return "open", f"{run.name} does not say how many steps it has: give attach() its total_steps."
    event = "" if run.onset_step is None else f"; its loss went at step {run.onset_step}"
    limit = f"within {SHARE * run.total_steps:.0f} steps"
    since = f"{limit} of its start" if run.fault_step is None else f"{limit} of its fault"
    where = f"step {warning.step} of {run.total_steps}" if warning else ""
    fault = "" if run.fault_step is None else f", {run.fault_step} being that of its fault"
    if warning and holds:
        unproved = "" if event else "; nothing happened to its loss afterwards"
        return "passed", f"{run.name} was warned of at {where}{fault} ({warning.rule}){event}{unproved}."
    if warning:
        return "failed", f"{run.name} was warned of at {where}{fault} ({warning.rule}), not {since}{event}."
    if run.onset_step is None and not run.has_ended:
        return "open", f"{run.name} still runs."
    if run.onset_step is not None and run.onset_step - (run.fault_step or 0) <= SUDDEN_STEPS:
        begun = "its start" if run.fault_step is None else f"its fault at step {run.fault_step}"
        return "open", (
            f"The loss of {run.name} went at step {run.onset_step}, at once after {begun}, which nothing "
            "could have warned of: it shows nothing. Plant what builds up."
        )
    if run.onset_step is None:
        return "open", f"{run.name} was not warned of, and nothing happened to its loss: it shows nothing."
    return "failed", f"{run.name} was not warned of before step {run.onset_step}, at which its loss went."
