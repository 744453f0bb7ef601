"""How safe a run is: from its state, its alerts and its newest values to a level and its words."""

import math
from dataclasses import replace

from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.health.alert_facts import AlertFacts, earliest
from foreshock.dashboards.health.evidence import Evidence
from foreshock.dashboards.health.health import Health
from foreshock.dashboards.health.movement import (
    COMPOSITE_GAINS,
    Movement,
    is_inside,
    left_since,
    movement_of,
    worst_composite,
    worst_router,
)
from foreshock.dashboards.health.phrases import (
    COMPOSITE_BAND,
    clause,
    forecast,
    had_moved,
    moves,
    multiplied,
    overflow,
    overflow_step,
    quiet_loss,
    quoted,
    scarce,
)
from foreshock.wire.readings import RunReader


def judge_health(evidence: Evidence, reader: RunReader | None = None) -> Health:
    """The health of a run; with a `reader` of its numbers also since when a layer moves.

    It rests on steps and values alone: a clock that is wrong changes nothing.
    """
    if evidence.has_died:
        return _dead(evidence, reader)
    grave = [one for one in evidence.open if one.is_grave]
    if evidence.state == "crashed":
        return _crashed(evidence, reader)
    if grave:
        return _at_risk(evidence, grave, reader)
    if evidence.state == "lost":
        return _lost(evidence, reader)
    if evidence.last_step < 0:
        sentence = "The run is registered; its first step has not arrived."
        return Health(level="unknown", word="No data yet", sentence=sentence)
    return _calm(evidence, reader)


def _dead(evidence: Evidence, reader: RunReader | None) -> Health:
    broken = earliest(one for one in evidence.alerts if one.is_death and one.is_open)
    told = broken.opened_step if broken else evidence.last_step
    died = told if evidence.died_step is None else evidence.died_step
    is_broken = evidence.loss is not None and not math.isfinite(evidence.loss)
    # The newest step is seen before the judge has looked back for the first
    is_dated = broken is not None or evidence.died_step is not None
    what = (
        f"is {words(evidence.loss)} {'since' if is_dated else 'at'}" if is_broken else "was not finite from"
    )
    warned = _warning_before(evidence, died)
    parts = [f"The loss {what} step {died:,}."]
    if warned is not None:
        lead = (
            f"{quoted(warned.rule)} had warned at step {warned.step:,}, {died - warned.step:,} steps before."
        )
        parts.append(lead)
    before = sorted((one for one in evidence.alerts if one.foretells), key=lambda one: one.step)
    movement = movement_of(evidence, before, reader, stop=max(0, died - 1))
    return _told(
        evidence,
        Health(
            level="dead",
            word=f"Diverged {'at' if is_dated else 'by'} step {died:,}",
            sentence=_joined(*parts, had_moved(movement)),
            since_step=died if is_dated else None,
            rule=broken.rule if broken else None,
            advice=broken.advice if broken else "",
        ),
        movement,
    )


def _crashed(evidence: Evidence, reader: RunReader | None) -> Health:
    if evidence.last_step < 0:
        return Health(
            level="dead", word="Crashed", sentence="The run ended with an error before its first step."
        )
    movement = movement_of(evidence, evidence.open, reader)
    first = earliest(evidence.open)
    seen = "" if first is None else f"Before, since step {first.step:,}: {first.cause}."
    ended = f"The run ended with an error after step {evidence.last_step:,}."
    sentence = _joined(ended, seen, moves(movement, evidence), multiplied(evidence))
    health = Health(
        level="dead",
        word=f"Crashed at step {evidence.last_step:,}",
        sentence=sentence,
        since_step=evidence.last_step,
        rule=None if first is None else first.rule,
    )
    return _told(evidence, health, movement)


def _at_risk(evidence: Evidence, grave: list[AlertFacts], reader: RunReader | None) -> Health:
    first = earliest(grave) or grave[0]
    movement = movement_of(evidence, _by_weight(evidence.open, first), reader)
    limit = overflow_step(evidence.open, evidence)
    ended = evidence.state == "finished"
    lost = f"Contact was lost after step {evidence.last_step:,}." if evidence.state == "lost" else ""
    sentence = _joined(
        clause(first),
        moves(movement, evidence),
        multiplied(evidence),
        scarce(evidence),
        "" if ended else quiet_loss(evidence, evidence.open),
        "" if ended else overflow(limit, evidence),
        "" if ended else forecast(_forecaster(evidence)),
        lost,
    )
    health = Health(
        level="risk",
        word=f"{'Ended at' if ended else 'At'} risk since step {first.step:,}",
        sentence=sentence,
        since_step=first.step,
        rule=first.rule,
        advice=first.advice,
        limit_step=limit,
    )
    return _told(evidence, health, movement)


def _lost(evidence: Evidence, reader: RunReader | None) -> Health:
    if evidence.last_step < 0:
        silence = "Nothing has been heard since the run was registered."
    else:
        silence = f"Nothing has been heard since step {evidence.last_step:,}."
    first = earliest(one for one in evidence.open if one.rule != "heartbeat_lost")
    before = "" if first is None else f"Before, since step {first.step:,}: {first.cause}."
    movement = movement_of(evidence, evidence.open, reader)
    sentence = _joined(
        silence,
        "Is the process alive? The probe sends what it kept when it comes back.",
        before,
        moves(movement, evidence),
    )
    since = evidence.last_step if evidence.last_step >= 0 else None
    health = Health(
        level="watch", word="Contact lost", sentence=sentence, since_step=since, rule="heartbeat_lost"
    )
    return _told(evidence, health, movement)


def _calm(evidence: Evidence, reader: RunReader | None) -> Health:
    ended = f"Finished at step {evidence.last_step:,}." if evidence.state == "finished" else ""
    first = earliest(evidence.open) or earliest(_until_the_end(evidence))
    movement = movement_of(
        evidence, evidence.open if first is None else _by_weight(evidence.open, first), reader
    )
    uneasy = _uneasy(evidence)
    if first is not None or uneasy:
        return _watched(evidence, first, uneasy, movement, ended, reader)
    if not evidence.is_judged:
        sentence = _joined(ended, "What has arrived waits to be judged.", moves(movement, evidence))
        return _told(evidence, Health(level="unknown", word="Not judged yet", sentence=sentence), movement)
    facts = (moves(movement, evidence), multiplied(evidence), _passed(evidence))
    if evidence.gaps:
        seen = f"No open alerts in what was seen ({'; '.join(evidence.gaps)})."
        partial = Health(level="partial", word="Seen in part", sentence=_joined(ended, seen, *facts))
        return _told(evidence, partial, movement)
    safe = Health(level="safe", word="Safe", sentence=_joined(ended, "No open alerts.", *facts))
    return _told(evidence, safe, movement)


def _watched(
    evidence: Evidence,
    first: AlertFacts | None,
    uneasy: list[str],
    movement: Movement | None,
    ended: str,
    reader: RunReader | None,
) -> Health:
    since = _uneasy_since(evidence, movement, reader) if first is None else first.step
    limit = overflow_step(evidence.open, evidence)
    is_of_loss = first is not None and first.rule == "loss_spike" and movement is None
    data_first = "Look at the data of that step first." if is_of_loss and moves(None, evidence) else ""
    sentence = _joined(
        ended,
        *(uneasy if first is None else (clause(first), scarce(evidence))),
        f"Seen: {'; '.join(evidence.gaps)}." if evidence.gaps else "",
        moves(movement, evidence),
        data_first,
        multiplied(evidence),
        "" if ended else overflow(limit, evidence),
        "" if ended else forecast(_forecaster(evidence)),
    )
    health = Health(
        level="watch",
        word="Watch" if since is None else f"Watch since step {since:,}",
        sentence=sentence,
        since_step=since,
        rule=None if first is None else first.rule,
        advice="" if first is None else first.advice,
        limit_step=limit,
    )
    return _told(evidence, health, movement)


def _uneasy(evidence: Evidence) -> list[str]:
    """What is outside its healthy band though no alert says so, as sentences."""
    told = []
    composite = worst_composite(evidence)
    if composite is not None and not is_inside(composite[0], COMPOSITE_BAND):
        band = f"{COMPOSITE_BAND.low:g} to {COMPOSITE_BAND.high:g}"
        told.append(f"The composite gain has left its healthy band ({band}).")
    if scarce(evidence):
        told.append(scarce(evidence))
    if worst_router(evidence.values) is not None:
        told.append("A router has left its healthy band.")
    return told


def _uneasy_since(evidence: Evidence, movement: Movement | None, reader: RunReader | None) -> int | None:
    """Since when the product of the layers is outside its band, else since when the layer that moves is."""
    composite = worst_composite(evidence)
    if reader is not None and composite is not None and not is_inside(composite[0], COMPOSITE_BAND):
        columns = [f"{series}[{composite[1]}]" for series in COMPOSITE_GAINS]
        known = [left_since(reader, column, COMPOSITE_BAND) for column in columns]
        first = min((step for step in known if step is not None), default=None)
        if first is not None:
            return first
    return None if movement is None else movement.since_step


def _by_weight(alerts: list[AlertFacts], first: AlertFacts) -> list[AlertFacts]:
    """The alert that decides, then the others as they came."""
    return [first, *sorted((one for one in alerts if one is not first), key=lambda one: one.step)]


def _warning_before(evidence: Evidence, step: int) -> AlertFacts | None:
    warnings = [one for one in evidence.alerts if one.foretells and one.step < step]
    return earliest(one for one in warnings if one.severity == "critical") or earliest(warnings)


def _forecaster(evidence: Evidence) -> AlertFacts | None:
    told = [one for one in evidence.open if one.state == "firing" and one.risk]
    return min(told, key=lambda one: one.rule != "spike_ahead", default=None)


def _until_the_end(evidence: Evidence) -> list[AlertFacts]:
    """Warnings that nothing resolved but the end of the run: what they saw has not passed."""
    if evidence.state != "finished":
        return []
    fired = [one for one in evidence.alerts if one.fired_step is not None and one.severity == "warning"]
    return [one for one in fired if not one.is_open and one.resolved_step == evidence.last_step]


def _passed(evidence: Evidence) -> str:
    """The last alert that fired and resolved."""
    ended = [one for one in evidence.alerts if not one.is_open and one.fired_step is not None]
    last = max(ended, key=lambda one: one.resolved_step or one.step, default=None)
    if last is None or last.resolved_step is None:
        return ""
    passed = f"{quoted(last.rule)} has passed (steps {last.step:,} to {last.resolved_step:,})."
    is_of_loss = last.rule == "loss_spike" and moves(None, evidence)
    return f"{passed} Look at the data of that step." if is_of_loss else passed


def _told(evidence: Evidence, health: Health, movement: Movement | None) -> Health:
    """The health with the layer that moves and the forecast's risk."""
    health = replace(health, num_open=len(evidence.open))
    if movement is not None and not movement.is_composite:
        health = replace(
            health,
            layer=movement.layer,
            series=movement.series,
            value=movement.value,
            moved_since=movement.since_step,
        )
    forecaster = _forecaster(evidence)
    if forecaster is None or forecaster.risk is None:
        return health
    return replace(health, risk=dict(forecaster.risk), risk_step=forecaster.told_step)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
