"""One run as its judge holds it: detector, position in the log, absent ranks, schedule changes to come."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import zstandard

from foreshock.server.alerts.life import Transition
from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.risk import Risk
from foreshock.server.detection.rule import AnyRule
from foreshock.server.detection.watermark import Absence, Waiting

STATE_VERSION: Final = 1
# Steps that are judged between two looks at the clock: 0.3 seconds where every trend is tested
SLICE: Final = 1024


class ScheduleChange(msgspec.Struct, frozen=True, order=True):
    """A logged `schedule` event.

    It takes effect at `step`: its own, or the first after what its rank had sent before it, so that
    no way of cutting the log into turns can change what it explains.
    """

    step: int
    rank: int
    sequence: int
    what: str


def change_words(detail: Mapping[str, Any]) -> str:
    """A `schedule` event's detail in a few words."""
    return ", ".join(f"{name} {value}" for name, value in sorted(detail.items()))[:200] or "no detail"


class CaseState(msgspec.Struct, frozen=True):
    """A case as it is stored."""

    version: int
    attempt: int
    position: int
    is_closed: bool
    absences: tuple[Absence, ...]
    changes: list[ScheduleChange]
    next_sequences: dict[int, int]
    detector: bytes


class Case:
    """One attempt of one run, judged up to `position`."""

    def __init__(self, attempt: int, context: RunContext, rules: Sequence[AnyRule] | None = None) -> None:
        self.attempt = attempt
        self.detector = Detector(context, rules)
        self.position = -1
        self.is_closed = False
        self.absences: tuple[Absence, ...] = ()
        self.waiting = Waiting()
        self.next_sequences: dict[int, int] = {}
        self._changes: list[ScheduleChange] = []
        self._risks: list[Risk] = []

    @property
    def risk(self) -> Risk:
        """What was forecast at the steps that the last `advance` has judged."""
        return Risk.join(self._risks)

    def note_changes(self, changes: Sequence[ScheduleChange], next_sequences: dict[int, int]) -> None:
        """Takes schedule changes that were found in the log."""
        self._changes = sorted([*self._changes, *changes])
        self.next_sequences = next_sequences

    def advance(
        self, block: Block, upto: int, is_over: Callable[[], bool] = lambda: False
    ) -> list[Transition]:
        """Judges all steps up to a watermark, each schedule change in its place.

        Ends early, between any two slices of the block, once `is_over` says so; what is left of it must
        then come again. What rules have opened that judge no more resolves first.
        """
        transitions = [] if self.is_closed else self.detector.settle()
        self._risks = []
        for start in range(0, len(block), SLICE):
            part = block.part(start, start + SLICE)
            transitions += self._judge(part)
            if start + SLICE < len(block) and is_over():
                upto = int(part.steps[-1])
                break
        self.position = max(self.position, upto)
        self.is_closed = self.is_closed and not len(block)
        return transitions

    def _judge(self, block: Block) -> list[Transition]:
        transitions: list[Transition] = []
        start = 0
        while self._changes and self._changes[0].step <= block.steps[-1]:
            row = int(block.steps.searchsorted(self._changes[0].step))
            transitions += self._judge_part(block.part(start, row))
            start = row
            due = [change for change in self._changes if change.step <= block.steps[row]]
            for change in due:
                self.detector.note_schedule(change.step, change.what)
            self._changes = self._changes[len(due) :]
        return transitions + self._judge_part(block.part(start, len(block)))

    def _judge_part(self, block: Block) -> list[Transition]:
        transitions = self.detector.judge(block)
        self._risks.append(self.detector.risk)
        return transitions

    def end(self, state: str) -> list[Transition]:
        """The end of the run: what stays open is its last word, the rest resolves.

        Pending alerts lapse. Of a finished run critical alerts that fire stay, so that lists go on
        showing how it ended; of a crashed one all that fire stay.
        """
        self.is_closed = True
        over = [
            one
            for one in self.detector.lives
            if one.state == "pending" or (state == "finished" and one.severity != "critical")
        ]
        return self.detector.close(over, f"The run has {state} at step {self.detector.judged_step}.")

    def supersede(self, attempt: int, back_to_step: int | None = None) -> list[Transition]:
        """A new attempt: everything open resolves, since it was about the old one.

        back_to_step: where the run has said that it goes on, None where it has not said so.
        """
        afresh = f"Attempt {attempt} is judged afresh."
        found: list[Transition] = []
        for one in self.detector.lives:
            reason = f"Attempt {attempt} of the run has begun; it is judged afresh."
            if back_to_step is not None:
                reason = f"The run went back to step {back_to_step}. {afresh}"
            if back_to_step is not None and one.opened_step >= back_to_step:
                seen = f"what was seen from step {one.opened_step} on will not come to be"
                reason = f"The run went back to step {back_to_step}: {seen}. {afresh}"
            found += self.detector.close([one], reason)
        return found

    def pack(self) -> bytes:
        """The case as bytes, compressed."""
        state = CaseState(
            STATE_VERSION,
            self.attempt,
            self.position,
            self.is_closed,
            self.absences,
            self._changes,
            self.next_sequences,
            self.detector.state(),
        )
        return zstandard.ZstdCompressor(level=1).compress(msgspec.msgpack.encode(state))

    @classmethod
    def unpack(cls, data: bytes, context: RunContext, rules: Sequence[AnyRule] | None = None) -> "Case":
        """The inverse of `pack`."""
        state = msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(data), type=CaseState)
        case = cls(state.attempt, context, rules)
        case.detector.restore(state.detector)
        case.position = state.position
        case.is_closed = state.is_closed
        case.absences = state.absences
        case.next_sequences = state.next_sequences
        case._changes = state.changes
        return case
