"""The neighbourhood of an alert's step: how far people and pictures look, and where that is to be seen."""

from typing import Final
from urllib.parse import quote

from foreshock.server.alerts.groups import PREFIX, page_of
from foreshock.wire import Alert

STEPS_BEFORE: Final = 200
STEPS_AFTER: Final = 50


def steps_around(step: int) -> tuple[int, int]:
    """First and last step of what is shown around a step."""
    return max(0, step - STEPS_BEFORE), step + STEPS_AFTER


def page_around(base: str, alert: Alert, project: str) -> tuple[str, str]:
    """Addresses of the page at the alert's step, and of the picture; a group of runs has no picture."""
    if alert.run_id.startswith(PREFIX):
        return base + page_of(alert.run_id, project), ""
    start, stop = steps_around(alert.step)
    run = quote(alert.run_id, safe="")
    page = f"{base}/runs/{run}?from={start}&to={stop}&attempt={alert.attempt}"
    return page, f"{base}/api/v1/alerts/{run}/{alert.alert_id}/snapshot.png"
