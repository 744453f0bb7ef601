"""What a rule may offer so that it is not asked at every step."""

from typing import Any, Protocol, runtime_checkable

from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch


@runtime_checkable
class Selective(Protocol):
    """A rule that knows of many steps at once which of them are worth a verdict."""

    def loud(self, stretch: Stretch, state: Any, is_open: bool, start: int) -> BoolArray:
        """Which steps from row `start` of a stretch on are worth `update`; it may tell of the first few only.

        At a step that is not, `update` must leave this state as it is, and give nothing but verdicts that
        change nothing: none at all, or, unless an alert of the rule is open (`is_open`), CLEAR and BETWEEN.
        What has no bearing on that may be loud. Whether a step is loud depends on `start` in no way.
        """
