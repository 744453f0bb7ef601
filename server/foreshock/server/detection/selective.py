"""What a rule may offer so that it is not asked at every step."""

from typing import Any, Protocol, runtime_checkable

from foreshock.server.detection.sample import BoolArray
from foreshock.server.detection.stretch import Stretch


@runtime_checkable
class Selective(Protocol):
    """A rule that knows of many steps at once which of them are worth a verdict."""

    def loud(self, stretch: Stretch, state: Any, is_open: bool, start: int) -> BoolArray:
        """Which steps from row `start` of a stretch on are worth `update`; it may tell of the first few only.

        At a step that is not, `update` must leave this state as it is, but for what `follow` does to it (or
        take in early what it would take in when it is next asked), and give nothing but verdicts that change
        nothing: none at all, or, unless an alert of the rule is open (`is_open`), CLEAR and BETWEEN. What has
        no bearing on that may be loud. Where a step is loud may depend on `start` only where no alert can.
        """


@runtime_checkable
class Following(Selective, Protocol):
    """A selective rule whose state follows all steps, those too at which it is not asked."""

    def follow(self, stretch: Stretch, state: Any, start: int, end: int) -> None:
        """Does to the state what `update` would at rows `start` to before `end`, none of them loud."""
