"""Which rules fire at which step of a stretch: what holds other rules back."""

from collections.abc import Iterable

from foreshock.server.alerts.life import Life, Transition


class Firing:
    """The alerts that fire before a stretch, and what its transitions change, rule after rule."""

    def __init__(self, lives: Iterable[Life] = ()) -> None:
        self._alerts = {(one.rule, one.subject, one.opened_step) for one in lives if one.state == "firing"}
        # By rule, from which step on one alert more or less of it fires
        self._changes: dict[str, list[tuple[int, int]]] = {}
        for rule, _, opened_step in self._alerts:
            self._changes.setdefault(rule, []).append((opened_step, 1))

    def note(self, transitions: Iterable[Transition]) -> None:
        """Takes what a rule has found in the stretch, in order."""
        for one in transitions:
            alert = (one.rule, one.subject, one.opened_step)
            if one.state == "firing" and alert not in self._alerts:
                self._alerts.add(alert)
                self._changes.setdefault(one.rule, []).append((one.step, 1))
            elif one.state == "resolved" and alert in self._alerts:
                self._alerts.remove(alert)
                self._changes[one.rule].append((one.step, -1))

    def any_at(self, rules: Iterable[str], step: int) -> bool:
        """Whether any of some rules fires at a step, all that they find at it taken in."""
        return any(
            sum(change for since, change in self._changes.get(rule, ()) if since <= step) > 0
            for rule in rules
        )
