"""An observer of the user's own, kept from harming training or the other observers."""

from foreshock.probe.clock import Clock
from foreshock.probe.errors import AttachError
from foreshock.probe.faults import Faults
from foreshock.probe.observers.observer import Columns, Observer, Places
from foreshock.wire import CADENCES, WireError, parse_column


class GuardedObserver:
    """Passes everything on, and counts what fails after attach.

    Raises AttachError for columns that cannot be: unknown cadences, names that are none or of the catalogue.
    """

    def __init__(self, observer: Observer, faults: Faults) -> None:
        self._observer, self._faults = observer, faults
        self.columns: Columns = {cadence: tuple(names) for cadence, names in observer.columns.items()}
        self._told = f"the observer {type(observer).__name__}"
        for cadence, names in self.columns.items():
            if cadence not in CADENCES:
                raise AttachError(
                    f"{self._told} has the cadence {cadence!r}; choose of {', '.join(CADENCES)}"
                )
            for name in names:
                self._check(name)

    def start(self, places: Places, clock: Clock) -> None:
        """Starts it; what it raises ends attach, where the user is there to see it."""
        self._clock = clock
        self._observer.start(places, clock)

    def end_step(self) -> None:
        """Ends the step for it."""
        try:
            with self._clock.charging(next(iter(self.columns), "always")):
                self._observer.end_step()
        except Exception as error:
            self._faults.count(self._told, error)

    def close(self) -> None:
        """Closes it."""
        try:
            self._observer.close()
        except Exception as error:
            self._faults.count(self._told, error)

    def _check(self, name: str) -> None:
        try:
            signal = parse_column(name).signal
        except WireError as error:
            raise AttachError(f"{self._told} has a column that cannot be: {error}") from error
        if signal is not None:
            raise AttachError(f"{self._told} has the column {name!r}, a signal of the catalogue: rename it")
