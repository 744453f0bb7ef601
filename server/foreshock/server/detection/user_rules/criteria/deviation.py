"""`deviates: {z: 6, within: 200 steps}`: far from what its own last samples let expect."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from foreshock.server.detection.baseline import baseline
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.user_rules.criteria.movement import read_window
from foreshock.server.detection.user_rules.criterion import Finding, Sight, judged
from foreshock.server.detection.user_rules.duration import Duration
from foreshock.server.detection.user_rules.section import Section
from foreshock.server.detection.user_rules.window import Memory
from foreshock.wire.signal import Reduction

MIN_SAMPLES: Final = 20


@dataclass(frozen=True, slots=True)
class Deviation:
    """Holds while the value is `z` robust standard deviations over its baseline (under, where negative).

    The baseline is a robust line through the window's samples, fitted fifty times a window. A value
    for which the condition holds does not enter it; a level that stays for a whole window becomes it.
    """

    key: ClassVar[str] = "deviates"
    z: float
    within: Duration
    clear_z: float

    @property
    def worst(self) -> Reduction:
        """The layer furthest out."""
        return "max" if self.z > 0 else "min"

    def window_steps(self, context: RunContext) -> int:
        """The window."""
        return self.within.steps(context)

    def judge(self, sight: Sight, memory: Memory) -> Finding | None:
        """Holds the value against the baseline of the samples before it."""
        window = self.window_steps(sight.moment.context)
        if sight.value is None or not math.isfinite(sight.value):
            return None
        if sight.step >= memory.next_step:
            self._fit(sight, memory, window)
        if math.isnan(memory.level):
            memory.take(sight.step, sight.value, window)
            return None
        value, level = sight.value, memory.level
        z = (value - level) / memory.noise
        sign = 1 if self.z > 0 else -1
        holds, is_clear = sign * z >= sign * self.z, sign * z < sign * self.clear_z
        if not holds:
            memory.take(sight.step, value, window)

        def words() -> str:
            side = "over" if z >= 0 else "under"
            told = f"is {value:.4g}, {abs(z):.1f} standard deviations {side} its own baseline of {level:.4g}"
            return f"{told}." if holds else f"{told}, no longer {abs(self.z):g}."

        return Finding(judged(holds, is_clear), words)

    def _fit(self, sight: Sight, memory: Memory, window: int) -> None:
        memory.next_step = sight.step + max(1, window // 50)
        steps, values = memory.since(sight.moment.since_schedule(window))
        if len(values) < MIN_SAMPLES:
            memory.level = memory.noise = math.nan
            return
        line = baseline(steps, values, sight.step)
        memory.level, memory.noise = line.level, line.noise

    def said(self) -> Any:
        """z and within."""
        return {"z": self.z, "within": self.within.said()}

    def said_clear(self) -> dict[str, Any]:
        """The other z, where it is another."""
        return {} if self.clear_z == self.z else {"z": self.clear_z}


def read_deviation(key: str, when: Section, clear: Section | None) -> Deviation | None:
    """Reads `deviates` and the z of `clear`, notes what is wrong with them."""
    section = when.section(key, f"{key} of {when.what}")
    back = None if clear is None else clear.number("z")
    if section is None:
        return None
    z, within = section.number("z"), read_window(section, "within", MIN_SAMPLES)
    section.finish()
    if z is None:
        if not section.has("z"):
            section.add(section.place, f"{section.what} lacks z: say by how many deviations, such as 6 or -6")
        return None
    if z == 0:
        section.add(section.place, f"z of {section.what} is 0: give 6 for far above, -6 for far below")
    if back is not None and clear is not None and (back * z < 0 or abs(back) > abs(z)):
        clear.add(clear.place, f"z of {clear.what} is {back:g}: it must lie between 0 and {z:g}")
    return None if within is None else Deviation(z, within, z if back is None else back)
