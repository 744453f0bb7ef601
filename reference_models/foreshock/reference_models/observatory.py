"""What the demo and the stress test ask of a collector, over HTTP only."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from foreshock.reference_models.errors import DemoError

PATIENCE_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class AlertLine:
    """One alert of a run on its timeline: when it fired, what the loss was, how long before death."""

    rule: str
    severity: str
    subject: str
    step: int
    loss: float | None
    steps_before_death: int | None
    reason: str


class Observatory:
    """A reader of one project on one collector."""

    def __init__(self, url: str, project: str) -> None:
        self.url, self.project = url, project
        self._client = httpx.Client(base_url=url, timeout=10.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_ready(self) -> bool:
        """Whether the collector stores and reads."""
        try:
            return self._client.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def runs(self) -> dict[str, dict[str, Any]]:
        """The project's runs by identity; none while the collector does not answer."""
        try:
            rows = self._get("/api/v1/runs", project=self.project, limit=100)["runs"]
        except DemoError:
            return {}
        return {row["run_id"]: row for row in rows}

    def run(self, run_id: str) -> dict[str, Any] | None:
        """What is known of a run of any project; None where the collector has not heard of it."""
        answer = self._answer(f"/api/v1/runs/{run_id}", {})
        return None if answer.status_code == httpx.codes.NOT_FOUND else self._body(answer)

    def losses(self, run_id: str) -> dict[int, float]:
        """The losses of a run by step, NaN for what is not finite.

        Beyond 5,000 steps they are means, by the first step of a bucket, NaN where it holds one.
        """
        path = f"/api/v1/runs/{run_id}/series"
        series = self._get(path, column="loss", buckets=5000)["series"]
        if not series:
            return {}
        means = (read_number(value) for value in series[0]["mean"])
        cells = zip(series[0]["first_step"], means, series[0]["nonfinite"], strict=True)
        known = ((step, math.nan if num_bad else mean) for step, mean, num_bad in cells)
        return {step: loss for step, loss in known if loss is not None}

    def least(self, run_id: str, column: str) -> float | None:
        """The smallest finite value of a scalar column; None without any."""
        series = self._get(f"/api/v1/runs/{run_id}/series", column=column, buckets=5000)["series"]
        values = [read_number(value) for value in series[0]["min"]] if series else []
        return min((value for value in values if value is not None and math.isfinite(value)), default=None)

    def wait_until_judged(self, run_ids: Sequence[str]) -> None:
        """Returns once the judge has reached the end of these runs, or after 30 seconds."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            rows = self.runs()
            if all(_is_judged(rows[run_id]) for run_id in run_ids if run_id in rows):
                return
            time.sleep(_POLL_SECONDS)

    def timeline(self, row: dict[str, Any]) -> list[AlertLine]:
        """The alerts of a run that fired, oldest first."""
        path = f"/api/v1/runs/{row['run_id']}"
        alerts = [alert for alert in self._get(f"{path}/alerts")["alerts"] if alert["fired_step"] is not None]
        losses = self._losses(path)
        died = row["summary"].get("died_step")
        lines = [
            AlertLine(
                rule=alert["rule"],
                severity=alert["severity"],
                subject=alert["subject"],
                step=alert["fired_step"],
                loss=losses.get(alert["fired_step"]),
                steps_before_death=None if died is None else died - alert["fired_step"],
                reason=self._reason_to_fire(alert),
            )
            for alert in alerts
        ]
        return sorted(lines, key=lambda line: (line.step, line.rule))

    def comparison(self) -> list[dict[str, Any]]:
        """The project's runs grouped by connection, each with final loss and log peak gain."""
        groups: list[dict[str, Any]] = self._get(
            "/api/v1/compare",
            project=self.project,
            group_by="connection",
            column="composite_amax_forward_mean",
        )["groups"]
        return groups

    def peak(self, run_id: str, reduction: str) -> float | None:
        """The largest finite composite amax of a run over layers, steps and directions; None without any."""
        peaks = []
        for series in (f"composite_amax_forward_{reduction}", f"composite_amax_backward_{reduction}"):
            layers = self._get(f"/api/v1/runs/{run_id}/map", series=series)["max"]
            cells = (read_number(cell) for layer in layers for cell in layer)
            peaks += [cell for cell in cells if cell is not None and math.isfinite(cell)]
        return max(peaks, default=None)

    def verdict(self, group_by: str = "connection", **groups: str) -> dict[str, Any]:
        """Whether the constraint has earned a restart; `groups` are `constrained` and `baseline`.

        Where nothing can be compared, because no run has come, it is undecided and says why.
        """
        params: dict[str, str | int] = {"project": self.project, "group_by": group_by, **groups}
        answer = self._answer("/api/v1/verdict", params)
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.UNPROCESSABLE_ENTITY):
            told = str(answer.json()["detail"])
            return {"state": "undecided", "reasons": [], "missing": [told], "notes": [], "tests": {}}
        return self._body(answer)

    def _reason_to_fire(self, alert: dict[str, Any]) -> str:
        """The words of the first firing; the alert's own are those of its last change."""
        told = self._get(f"/api/v1/alerts/{alert['run_id']}/{alert['alert_id']}")["transitions"]
        reasons: list[str] = [change["reason"] for change in told if change["state"] == "firing"]
        return reasons[0] if reasons else alert["reason"]

    def _losses(self, path: str) -> dict[int, float]:
        series = self._get(f"{path}/series", column="loss", buckets=5000)["series"]
        if not series:
            return {}
        values = (read_number(value) for value in series[0]["mean"])
        pairs = zip(series[0]["first_step"], values, strict=True)
        return {step: value for step, value in pairs if value is not None}

    def _get(self, path: str, **params: str | int) -> dict[str, Any]:
        return self._body(self._answer(path, params))

    def _answer(self, path: str, params: dict[str, str | int]) -> httpx.Response:
        try:
            return self._client.get(path, params=params)
        except httpx.TransportError as error:
            raise DemoError(f"the collector does not answer to {path}: {error}") from error

    @staticmethod
    def _body(answer: httpx.Response) -> dict[str, Any]:
        if answer.status_code != httpx.codes.OK:
            path = answer.url.path
            raise DemoError(f"the collector answered {answer.status_code} to {path}: {answer.text[:200]}")
        body: dict[str, Any] = answer.json()
        return body


def read_number(value: Any) -> float | None:
    """A number of the API, where non-finite ones are words."""
    return None if value is None else float(value)


def _is_judged(row: dict[str, Any]) -> bool:
    return bool(row["state"] != "running" and row["summary"].get("step", -1) >= row["last_step"])
