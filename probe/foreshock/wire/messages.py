"""The JSON that probe and collector exchange beside the log: declarations, answers, alerts."""

from typing import Any, Literal

import msgspec

AlertState = Literal["pending", "firing", "resolved"]
Severity = Literal["info", "warning", "critical"]
Claim = Literal["event", "structural", "rule"]
Constraint = Literal["none", "doubly_stochastic"]


class RunDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe says of a run when it registers; sent again after every reconnect."""

    run_id: str
    project: str
    name: str
    group: str | None = None
    tags: list[str] = []
    seed: int | None = None
    config: dict[str, Any] = {}
    constraint: Constraint | None = None
    total_steps: int | None = None
    rank: int = 0
    attempt: int = 0
    session: str = ""
    started_at: float = 0.0


class RunHandle(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's answer to a declaration: from where to send, and where people look."""

    run_id: str
    attempt: int
    next_sequence: int
    page: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One transition of an alert. `number` rises within a run and is what `last_alert` means.

    What it rests on, where the rule says so: the `signal` and `layer` that speak loudest, the `risk` of a
    spike or divergence within "20" and "100" steps, "5%" and "10%" of the run, and `eta_steps`, the steps
    until the threshold is passed at the present pace.
    """

    number: int
    alert_id: int
    run_id: str
    attempt: int
    rule: str
    claim: Claim
    severity: Severity
    state: AlertState
    subject: str
    step: int
    value: float | None
    reason: str
    advice: str
    time: float
    signal: str | None = None
    layer: int | None = None
    risk: dict[str, float] | None = None
    eta_steps: float | None = None


class AppendAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The collector's answer to an append: what is stored, and the alerts not seen so far."""

    next_sequence: int
    num_duplicates: int = 0
    alerts: list[Alert] = []


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 problem body. `expected_sequence` and `next_attempt` help a probe to recover."""

    type: str
    title: str
    status: int
    detail: str = ""
    expected_sequence: int | None = None
    next_attempt: int | None = None
