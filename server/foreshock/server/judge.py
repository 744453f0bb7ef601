"""The judge: reads every live run's log, applies the rules, and commits what it found, once.

One thread. A run belongs to the judge that holds its lease; detector state, alerts, notifications,
summary and position are one transaction that names the lease's epoch, so that a judge which was
taken for dead can write nothing. A commit is made at most once per run and interval.
"""

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from foreshock.server.alerts.groups import judge_project, projects_of, projects_with_ended_runs
from foreshock.server.alerts.heartbeat import find_returned_runs, lose_silent_runs
from foreshock.server.alerts.life import Transition
from foreshock.server.detection.case import Case
from foreshock.server.detection.joining import merge
from foreshock.server.detection.risk import Risk
from foreshock.server.detection.user_rules.book import RuleBook
from foreshock.server.detection.user_rules.watched import WatchedRules
from foreshock.server.detection.watermark import decide, watermark
from foreshock.server.store import judgement
from foreshock.server.store.alerts import write_transitions
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.frames import Span, bound_batches, read_frames
from foreshock.server.store.judgement import LeaseLostError, RunPlace
from foreshock.server.store.risks import write_risk
from foreshock.server.store.runs import hold
from foreshock.wire import Alert

Ring = Callable[[str, dict[str, Any]], None]

MAX_BATCHES_PER_TURN: Final = 64
# A run with a long backlog is left for the others after this, and goes on in the next turn
MAX_SECONDS_PER_TURN: Final = 0.5
# Enough for requests to get a word in while a backlog is judged
BACKLOG_PAUSE_SECONDS: Final = 0.02
MAX_PAUSE_SECONDS: Final = 60.0
# A project's groups are judged for at most one part in so many of the time
GROUP_REST: Final = 10

log = logging.getLogger("foreshock.judge")


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What can be set of the judge.

    interval_seconds: a run is judged and committed at most once in this time.
    lease_seconds: how long a judge owns a run without renewing.
    rank_grace_seconds: a rank that stands still for this long while others advance is left out.
    heartbeat_grace_seconds: silence after which a running run counts as lost.
    notifiers: names under which notifications are put into the outbox.
    """

    interval_seconds: float = 1.0
    lease_seconds: float = 15.0
    rank_grace_seconds: float = 30.0
    heartbeat_grace_seconds: float = 60.0
    notifiers: tuple[str, ...] = ("log",)


@dataclass(slots=True)
class Held:
    """A run that this judge owns: its epoch, its case, and the rules that the case is judged by.

    risks: what was forecast and is not stored yet, with the attempt.
    """

    epoch: int
    case: Case
    book: RuleBook
    risks: list[tuple[int, Risk]] = field(default_factory=list)


class Judge:
    """Judges all runs of a database, beside any number of others that do the same."""

    def __init__(
        self,
        engine: sa.Engine,
        settings: JudgeSettings,
        ring: Ring,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        rules: WatchedRules | None = None,
    ) -> None:
        """`clock` dates what is stored; `ticks`, which no one can set back, times what is waited for.

        Without `rules` the shipped ones judge.
        """
        self._engine = engine
        self._settings = settings
        self._ring = ring
        self._clock = clock
        self._ticks = ticks
        self._rules = WatchedRules() if rules is None else rules
        self._owner = uuid.uuid4().hex
        self._started_at = ticks()
        # Seconds since the epoch, for whoever watches the judge
        self.turned_at = 0.0
        self._held: dict[str, Held] = {}
        self._due: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._projects: set[str] | None = None
        # Runs that requests and the keeper have changed since the last turn
        self._changed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._has_backlog = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="foreshock-judge", daemon=True)

    def start(self) -> None:
        """Starts the judge's thread."""
        self._thread.start()

    def note_change(self, run_id: str) -> None:
        """Says, from any thread, that a run was declared or deleted: its groups are judged anew."""
        self._changed.put(run_id)

    def stop(self) -> None:
        """Ends the thread after the few steps it is at, and gives the leases back."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._guard("leases", judgement.release_leases, self._engine, self._owner)

    def _run(self) -> None:
        pause = self._settings.interval_seconds / 4
        while not self._stop.wait(BACKLOG_PAUSE_SECONDS if self._has_backlog else pause):
            self._has_backlog = False
            self._guard("turn", self.turn)

    def turn(self) -> None:
        """Judges every run that is due, then heartbeats, then the groups of runs that have ended."""
        self._rules.refresh(self._ticks())
        for place in self._waiting():
            if self._stop.is_set():
                return
            self._guard(place.run_id, self._judge_run, place)
        self._guard("heartbeats", self._watch_heartbeats)
        self._guard("groups", self._judge_groups)
        self.turned_at = self._clock()

    def _guard(self, name: str, act: Callable[..., None], *arguments: Any) -> None:
        """One run that cannot be judged must not keep the others waiting: it is tried ever more rarely."""
        try:
            act(*arguments)
        except LeaseLostError:
            log.info("another judge has taken over %s", name)
            self._held.pop(name, None)
        except Exception:
            pause = min(MAX_PAUSE_SECONDS, 2 * self._pauses.get(name, 0.5))
            log.exception("judging %s failed; it is tried again in %.0f seconds", name, pause)
            self._held.pop(name, None)
            self._pauses[name] = pause
            self._due[name] = self._ticks() + pause
        else:
            self._pauses.pop(name, None)

    def _waiting(self) -> list[RunPlace]:
        now = self._ticks()
        with reading(self._engine) as connection:
            places = judgement.waiting_runs(connection)
            unclosed = None if self._projects is None else list(self._held)
            places += judgement.ended_runs(connection, unclosed)
            if self._projects is None:
                self._projects = projects_with_ended_runs(connection)
        named = {place.run_id: place for place in places}
        for run_id in self._held.keys() - named.keys():  # deleted meanwhile
            del self._held[run_id]
        return [place for place in named.values() if self._due.get(place.run_id, 0.0) <= now]

    def _judge_run(self, place: RunPlace) -> None:
        self._due[place.run_id] = self._ticks() + self._settings.interval_seconds
        held = self._hold(place, self._clock())
        if held is None:
            return
        before = (held.case, held.case.position, held.case.is_closed)
        if held.book is not self._rules.book:
            held.book = self._rules.book
            held.case.detector.adopt(held.book.rules)
        transitions = self._advance(held, place, self._ticks())
        if before != (held.case, held.case.position, held.case.is_closed) or transitions:
            self._commit(place, held, transitions, self._clock())
        if held.case.is_closed:
            self._held.pop(place.run_id, None)
            self._note_project(place.project)

    def _hold(self, place: RunPlace, now: float) -> Held | None:
        """The run with its lease, loaded from the database unless it is held already."""
        if (held := self._held.get(place.run_id)) is not None:
            return held
        with writing(self._engine) as connection:
            seconds = self._settings.lease_seconds
            epoch = judgement.take_lease(connection, place.run_id, self._owner, now, seconds)
            if epoch is not None and not hold(connection, place.run_id):
                raise LeaseLostError(place.run_id)  # it was deleted since it was found waiting
        if epoch is None:
            return None
        with reading(self._engine) as connection:
            context = judgement.read_context(connection, place.run_id)
            stored = judgement.read_state(connection, place.run_id)
            if stored is not None:
                case = Case.unpack(stored[1], context, self._rules.book.rules)
            else:
                first = judgement.next_attempt(connection, place.run_id, -1)
                attempt = place.attempt if first is None else first
                case = Case(attempt, context, self._rules.book.rules)
        self._held[place.run_id] = held = Held(epoch, case, self._rules.book)
        return held

    def _advance(self, held: Held, place: RunPlace, now: float) -> list[tuple[int, Transition]]:
        """Judges on up to the watermark, or as far as one turn goes; each transition with its attempt."""
        case, is_over = held.case, self._turn_end()
        with reading(self._engine) as connection:
            places = judgement.read_places(connection, place.run_id, case.attempt)
            is_past = case.attempt < place.attempt
            case.waiting.note(places, now)
            grace = self._settings.rank_grace_seconds
            case.absences = decide(places, case.absences, case.waiting, case.position, now, grace)
            end = max((one.last_step for one in places), default=-1)
            upto = end if is_past else watermark(places, case.absences)
            span = Span(place.run_id, case.attempt, case.position, upto)
            span = bound_batches(connection, span, MAX_BATCHES_PER_TURN)
            changes = judgement.read_changes(connection, place.run_id, case.attempt, case.next_sequences)
            case.note_changes(*changes)
            frames, upto = read_frames(
                connection, span, case.absences, self._stop.is_set, held.book.own_series
            )
            following = judgement.next_attempt(connection, place.run_id, case.attempt) if is_past else None
            back = judgement.read_rollback(connection, place.run_id, case.attempt) if is_past else None
            # A new attempt may have declared other things, which a judge that is replaced would read too
            context = judgement.read_context(connection, place.run_id)
        found = [(case.attempt, one) for one in case.advance(merge(frames), upto, is_over)]
        held.risks.append((case.attempt, case.risk))
        if case.position < end:
            if case.position > span.after:
                self._due[place.run_id], self._has_backlog = now, True
        elif following is not None:
            found += [(case.attempt, one) for one in case.supersede(following, back)]
            held.case = Case(following, context, held.book.rules)
            self._due[place.run_id] = now
        elif place.state in ("finished", "crashed") and not case.is_closed:
            found += [(case.attempt, one) for one in case.end(place.state)]
        return found

    def _turn_end(self) -> Callable[[], bool]:
        """Whether a run has had its share of the thread, or the judge is to stop."""
        end = time.monotonic() + MAX_SECONDS_PER_TURN
        return lambda: self._stop.is_set() or time.monotonic() >= end

    def _commit(
        self, place: RunPlace, held: Held, transitions: Sequence[tuple[int, Transition]], now: float
    ) -> None:
        case, settings = held.case, self._settings
        told: list[Alert] = []
        with writing(self._engine) as connection:
            lease = (place.run_id, self._owner, held.epoch, now, settings.lease_seconds)
            judgement.fence(connection, *lease)
            judgement.write_state(
                connection, place.run_id, case.attempt, case.position, case.pack(), case.detector.summary
            )
            for attempt, risk in held.risks:
                write_risk(connection, place.run_id, attempt, risk)
            for attempt, one in transitions:
                told += write_transitions(
                    connection, place.run_id, place.project, attempt, [one], settings.notifiers
                )
        held.risks.clear()
        # Health, risk and reasons are new where no alert is: after its last step nothing else would say so
        self._ring("judged", {"run_id": place.run_id, "step": case.position})
        self._tell(told)

    def _watch_heartbeats(self) -> None:
        now, settings = self._clock(), self._settings
        if self._ticks() - self._started_at >= settings.heartbeat_grace_seconds:
            lost = lose_silent_runs(self._engine, now, settings.heartbeat_grace_seconds, settings.notifiers)
            for one in lost:
                self._ring("run", {"run_id": one.run_id, "state": "lost"})
                self.note_change(one.run_id)
            self._tell(lost)
        self._tell(find_returned_runs(self._engine, now, settings.notifiers))

    def _note_project(self, project: str) -> None:
        if self._projects is not None:
            self._projects.add(project)

    def _judge_groups(self) -> None:
        """Once for each project in which a run has changed since; one that fails keeps no other waiting."""
        for project in self._take_changed():
            self._note_project(project)
        now = self._ticks()
        for project in sorted(self._projects or ()):
            name = f"group:{project}"
            if self._due.get(name, 0.0) <= now:
                self._guard(name, self._judge_project, project)

    def _judge_project(self, project: str) -> None:
        begun = self._ticks()
        told = judge_project(self._engine, project, self._clock(), self._settings.notifiers)
        if self._projects is not None:
            self._projects.discard(project)
        # A project of thousands of runs, which end one by one, must not take the judge from those that live
        self._due[f"group:{project}"] = begun + GROUP_REST * (self._ticks() - begun)
        self._tell(told)

    def _take_changed(self) -> set[str]:
        changed = [self._changed.get() for _ in range(self._changed.qsize())]
        if not changed:
            return set()
        with reading(self._engine) as connection:
            return projects_of(connection, changed)

    def _tell(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            self._ring("alert", msgspec.to_builtins(alert))
