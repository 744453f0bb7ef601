"""The snapshot that goes with an alert: every signal around its step, as a picture."""

from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from foreshock.server.alerts.around import steps_around
from foreshock.server.alerts.groups import PREFIX
from foreshock.server.alerts.panel import MAX_PANELS, choose, read_panels
from foreshock.server.alerts.picture import Caption, draw_picture
from foreshock.server.alerts.risk_panel import risk_at, risk_panel
from foreshock.server.errors import UnknownSnapshotError
from foreshock.server.figure_cache import FigureCache, Key
from foreshock.server.store.alerts import read_alert
from foreshock.server.store.read import StoredRun
from foreshock.server.store.windows import Windows
from foreshock.wire.readings import RiskBuckets, Window

BUCKETS: Final = 256


class Snapshots:
    """Draws snapshots, and keeps them while nothing in them has changed."""

    def __init__(self, engine: sa.Engine, windows: Windows, cache: FigureCache) -> None:
        self._engine = engine
        self._windows = windows
        self._cache = cache

    def draw(self, run_id: str, alert_id: int, project: str | None = None) -> bytes:
        """PNG bytes; raises UnknownAlertError, for one not of the project too, and UnknownSnapshotError."""
        alert = read_alert(self._engine, run_id, alert_id, project)
        if run_id.startswith(PREFIX):
            raise UnknownSnapshotError(
                f"alert {alert_id} of {run_id[:64]!r} is about a group of runs, which has no steps to picture"
            )
        run = StoredRun(self._engine, self._windows, run_id).found()
        step = alert["fired_step"] if alert["fired_step"] is not None else alert["opened_step"]
        start, stop = steps_around(step)
        risk = run.risk(Window(start, stop, BUCKETS, alert["attempt"]))
        # What lies before the end of the window no longer changes
        newest = min(stop, int(run.row["last_step"])) if run.row["attempt"] == alert["attempt"] else stop
        forecast = int(risk.last_step[-1]) if len(risk.last_step) else -1
        mark = f"{alert['updated_at']}-{newest}-{forecast}"
        key: Key = (run_id, "snapshot", str(alert_id), mark)
        return self._cache.get(key, lambda: self._draw(run, alert, start, stop, step, risk)).body

    def _draw(
        self,
        run: StoredRun,
        alert: dict[str, Any],
        start: int,
        stop: int,
        step: int,
        risk: RiskBuckets,
    ) -> bytes:
        window = Window(start, stop, BUCKETS, alert["attempt"])
        layers = run.num_layers()
        of_risk = risk_panel(risk)
        most = MAX_PANELS - int(of_risk is not None)
        series, num_more = choose(layers, alert["signal"], alert["subject"], most)
        panels = list(read_panels(run, series, layers, alert["layer"], window))
        if of_risk is not None:
            # Beside the loss, of which it speaks
            panels.insert(1, of_risk)
        ends = max((int(panel.steps[-1]) for panel in panels), default=stop)
        caption = Caption(
            title=f"{alert['rule']} ({alert['severity']}) in {run.row['name']}, step {step:,}",
            reason=alert["reason"],
            note=_note(alert["risk"] or risk_at(risk, step), num_more),
            severity=alert["severity"],
            start=start,
            stop=max(min(stop, ends), step + 1),
            step=step,
        )
        return draw_picture(caption, panels)


def _note(risk: Mapping[str, float], num_more: int) -> str:
    told = ["line: value, of layers the median; band: smallest to largest; green: healthy; red: not finite"]
    if risk:
        shares = ", ".join(f"{share:.0%} within {reach}" for reach, share in risk.items())
        told.insert(0, f"risk {shares}")
    if num_more:
        told.append(f"{num_more} more signals on the page")
    return "; ".join(told)
