"""A trace judged as a live run is: block by block, each attempt afresh, from the past alone."""

from collections.abc import Iterator, Sequence

from foreshock.server.alerts.life import Transition
from foreshock.server.detection.case import Case
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.rule import AnyRule
from foreshock.server.replay.traces import Trace


def replay_trace(
    trace: Trace, context: RunContext, rules: Sequence[AnyRule] | None = None
) -> Iterator[Transition]:
    """Every transition of a trace's alerts, in order; alerts that are open at its end stay as they are.

    `context` is what the run is taken to have declared, `rules` are the default ones where none are given.
    Strictly causal: what is told of a step depends on that step and those before it. A new attempt ends
    the old one's alerts, as it does live. Raises what reading the trace raises.
    """
    case: Case | None = None
    for attempt, block in trace.parts():
        if case is None or case.attempt != attempt:
            if case is not None:
                yield from case.supersede(attempt)
            case = Case(attempt, context, rules)
            case.note_changes(trace.changes(attempt), {})
        yield from case.advance(block, int(block.steps[-1]))
