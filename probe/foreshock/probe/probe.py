"""The probe: one object beside the model, closed once a step."""

import atexit
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from foreshock.probe.delivery import Delivery
from foreshock.probe.domain_losses import DomainLosses
from foreshock.probe.errors import StopTraining
from foreshock.probe.faults import Faults
from foreshock.probe.frames import Facts, Happening, LogFrame, NewAttempt, NewPlan, SheetFrame, StepFrame
from foreshock.probe.instruments import Instruments
from foreshock.wire import Alert

_PLAIN = frozenset((float, int, bool, np.float32, np.float64, np.int64))
_MAX_LOG_VALUES = 65_536
MAX_OBSERVED_LAYERS = 4096
DEEP_STEPS = 100

OnAlert = Callable[[Alert], None]


class Probe:
    """Watches one model in one training process. Made by `attach`.

    The training thread only starts copies and fills a queue. Whatever fails inside is caught,
    counted in `faults` and told once; only StopTraining, raised by the user's `on_alert`, passes.
    """

    def __init__(
        self, instruments: Instruments, delivery: Delivery, faults: Faults, on_alert: OnAlert | None
    ) -> None:
        self._instruments, self._delivery, self._on_alert = instruments, delivery, on_alert
        self._queue = delivery.queue
        self._alerts: deque[Alert] = delivery.alerts
        self.faults = faults
        self._step = -1
        self._logged: dict[str, Any] = {}
        self._logged_step = -1
        self._domains = DomainLosses()
        self._seen_config: dict[str, int | float] = {}
        self._closed_at = time.perf_counter()
        self._own_before = 0.0
        self._is_open = True
        self._process = os.getpid()
        atexit.register(self._finish_at_exit)

    @property
    def run_id(self) -> str:
        """The run's identity."""
        return self._delivery.settings.run_id

    @property
    def page(self) -> str:
        """Where people look at this run."""
        return f"{self._delivery.settings.url}/runs/{self.run_id}"

    @property
    def spool_directory(self) -> str:
        """Where this run's records wait until the collector has them."""
        return str(self._delivery.settings.run_directory)

    @property
    def num_dropped_frames(self) -> int:
        """Frames that were lost to a full queue, a full pool of pinned rows, or a full spool."""
        return self._delivery.num_dropped_frames

    def step(
        self,
        loss: Tensor | float | None = None,
        *,
        step: int | None = None,
        grad_norm: Tensor | float | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Closes a training step; call it once a step, after the optimizer.

        `loss` may be a tensor on any device: it is never waited for. `step` counts by itself from 0;
        one that goes back opens a new attempt. `grad_norm` and `learning_rate` tell what the probe
        could not see. Calls `on_alert` for every alert that has arrived since.
        """
        if not self._is_here():
            return
        try:
            with self._instruments.clock.charging("always"):
                self._close_step(loss, step, grad_norm, learning_rate)
        except Exception as error:
            self.faults.count("probe.step", error)
        if self._alerts:
            self._hand_over_alerts()

    def log(self, values: Mapping[str, Any], *, step: int | None = None) -> None:
        """Records the user's own series for the step that the next `probe.step` closes, or for `step`."""
        if not self._is_here():
            return
        try:
            if step is None:
                self._logged = {**self._logged, **values} if self._logged else dict(values)
            else:
                self._put_log(dict(values), step, time.time())
        except Exception as error:
            self.faults.count("probe.log", error)

    def observe(self, name: str, values: Tensor, *, layer: int, streams: Tensor | None = None) -> None:
        """Hands over a mixing matrix that the probe cannot see: `observe("h_res", H, layer=l)`.

        H is [n, n] or [B, S, n, n], applied as x'_i = sum_j H_ij x_j; `streams` x [B, S, n, C] may go with
        it. Call it for every layer in every forward pass, layers counted from 0; recorded from the second
        step on, when it is known how many there are.
        """
        if not self._is_here() or torch.compiler.is_compiling():
            return
        try:
            if name != "h_res":
                raise ValueError(
                    f"observe was given {name!r}; it takes 'h_res', log takes numbers of any name"
                )
            if not 0 <= layer < MAX_OBSERVED_LAYERS:
                raise ValueError(f"layer is {layer}; give 0 to {MAX_OBSERVED_LAYERS - 1}")
            self._instruments.observe(layer, values, streams)
        except Exception as error:
            self.faults.count("probe.observe", error)

    def trust(self, loss: Tensor, again: Callable[[], Tensor]) -> None:
        """Measures whether the step has come down as the gradient promised (`trust_ratio`), every 50 steps.

        Call it after the optimizer's step and before `step`, with the step's loss and a function that
        computes it again on the same batch: `probe.trust(loss, lambda: model(batch).loss)`. It is called
        under `no_grad`, and only when it is due; what it costs and draws (dropout) is the script's.
        """
        if not self._is_here():
            return
        try:
            if self._instruments.trust is None:
                raise ValueError("trust needs the optimizer: attach(model, optimizer)")
            self._instruments.trust.measure(loss, again)
        except Exception as error:
            self.faults.count("probe.trust", error)

    def replay(self, forward: Callable[[], object]) -> None:
        """Measures how far routing has moved on a batch that stays the same, every 50 steps.

        Call it after the optimizer's step and before `step`, with a function that runs the model on that
        batch: `probe.replay(lambda: model(fixed_tokens))`. It is called under `no_grad`, and only when it
        is due; what it costs and draws (dropout) is the script's. For `router_staleness_fixed` and
        `router_counterfactual`; of no use to a model without routers.
        """
        if not self._is_here():
            return
        try:
            if self._instruments.replay is not None:
                self._instruments.replay.replay(forward)
        except Exception as error:
            self.faults.count("probe.replay", error)

    def domains(self, windows: Sequence[str], losses: Tensor | None = None) -> None:
        """Says of which domain of the data each window of a batch is: `domains(["code", "prose"])`.

        Call it before each forward pass, for `router_domain_distance`; and, or, with the windows' losses
        [B] after it, for a series `domain_loss/NAME` each. Tensors are never waited for.
        """
        if not self._is_here():
            return
        try:
            names = [str(name) for name in windows]
            domain_B = self._domains.numbers(names)
            if self._instruments.domains is not None:
                self._instruments.domains.take(domain_B, len(self._domains))
            if losses is not None:
                with torch.no_grad():
                    self.log(self._domains.of(domain_B, names, losses))
        except Exception as error:
            self.faults.count("probe.domains", error)

    def note(self, kind: str, **detail: str | int | float | bool | None) -> None:
        """Records an event at the current step, `note("schedule", what="batch size doubled")` say."""
        if self._is_here():
            self._queue.put(Happening(max(self._step, 0), time.time(), kind[:64], detail))

    def deepen(self, num_steps: int = DEEP_STEPS) -> None:
        """Records every signal at every one of the next steps, then goes back to the usual cadences."""
        if self._is_here():
            self._instruments.clock.deepen(num_steps)
            self._queue.put(Happening(max(self._step, 0), time.time(), "deep", {"num_steps": num_steps}))

    def finish(self, state: str = "finished") -> None:
        """Says how the run ended and delivers the rest, within a few seconds; detaches."""
        if not self._is_here():
            return
        self._is_open = False
        atexit.unregister(self._finish_at_exit)
        self._instruments.close()
        try:
            if self._logged:
                self._put_log(self._logged, self._step + 1, time.time())
            self._queue.put(Happening(max(self._step, 0), time.time(), state, {}))
            self._delivery.finish()
        except Exception as error:
            self.faults.count("probe.finish", error)

    def detach(self) -> None:
        """Removes every hook and ends delivery; the model is as it was. May be called again."""
        self.finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        deliberate = kind is None or issubclass(kind, StopTraining)
        self.finish("finished" if deliberate else "crashed")

    def _is_here(self) -> bool:
        # A forked data worker inherits the object but not the threads behind it
        return self._is_open and os.getpid() == self._process

    def _close_step(
        self,
        loss: Tensor | float | None,
        step: int | None,
        grad_norm: Tensor | float | None,
        learning_rate: float | None,
    ) -> None:
        now, closed_at = time.time(), time.perf_counter()
        seconds = closed_at - self._closed_at
        step = self._step + 1 if step is None else int(step)
        if step <= self._step:
            self._queue.put(NewAttempt(step, now))
            self._logged_step = -1
        if self._logged:
            logged, self._logged = self._logged, {}
            self._put_log(logged, step, now)
        reading = self._instruments.close_step(step, loss, grad_norm)
        for cadence, row in reading.rows.items():
            if row is None:
                self._queue.num_dropped += 1
            elif cadence != "step":
                self._queue.put(SheetFrame(cadence, step, now, row, reading.is_whole[cadence]))
        if (row := reading.rows["step"]) is not None:
            self._queue.put(
                StepFrame(
                    step=step,
                    time=now,
                    row=row,
                    learning_rate=reading.learning_rate if learning_rate is None else learning_rate,
                    skipped=reading.skipped,
                    seconds=seconds,
                    own_seconds=self._own_seconds(),
                    loss=loss if isinstance(loss, float | int) else None,
                    grad_norm=grad_norm if isinstance(grad_norm, float | int) else None,
                    clip_threshold=reading.clip_threshold,
                    stream_dtype_max=reading.stream_dtype_max,
                    is_whole=reading.is_whole["step"],
                )
            )
        self._step, self._closed_at = step, closed_at
        if (plan := self._instruments.take_new_plan()) is not None:
            self._queue.put(NewPlan(plan))
        seen = self._instruments.seen_config()
        if seen.keys() != self._seen_config.keys():
            self._seen_config = seen
            self._queue.put(Facts(seen))
        if len(self._queue) >= self._delivery.wake_at_frames:
            self._delivery.wake()
        self._keep_budget(seconds)

    def _own_seconds(self) -> float:
        """What the probe has taken since it was asked last; closing a step counts in the next."""
        total = self._instruments.clock.total_spent
        own, self._own_before = total - self._own_before, total
        return own

    def _keep_budget(self, seconds: float) -> None:
        budget = self._instruments.budget
        if budget is not None and budget.end_step(seconds):
            self.note(
                "cadence", **{f"{sheet}_every": n for sheet, n in self._instruments.clock.every.items()}
            )

    def _put_log(self, values: dict[str, Any], step: int, now: float) -> None:
        if len(values) > _MAX_LOG_VALUES:
            raise ValueError(f"{len(values)} values logged at once; at most {_MAX_LOG_VALUES} are allowed")
        if step < self._logged_step:
            raise ValueError(f"logged for step {step} after step {self._logged_step}; steps only grow")
        self._logged_step = step
        if not _PLAIN.issuperset(map(type, values.values())):
            values = self._only_numbers(values)
        if values:
            self._queue.put(LogFrame(step, now, values))

    def _only_numbers(self, values: dict[str, Any]) -> dict[str, Any]:
        kept = {name: _detached(value) for name, value in values.items() if _is_number(value)}
        if len(kept) < len(values):
            wrong = next(name for name in values if name not in kept)
            self.faults.tell(
                "log value",
                f"probe.log was given {wrong!r} = {type(values[wrong]).__name__}; it takes numbers and "
                "tensors of one element, and leaves the others out",
            )
        return kept

    def _hand_over_alerts(self) -> None:
        while self._alerts:
            alert = self._alerts.popleft()
            if alert.severity == "critical" and alert.state == "firing":
                self.deepen()
            if self._on_alert is None:
                continue
            try:
                self._on_alert(alert)
            except StopTraining:
                raise
            except Exception as error:
                self.faults.count("on_alert", error)

    def _finish_at_exit(self) -> None:
        failed = getattr(sys, "last_exc", None) is not None or getattr(sys, "last_value", None) is not None
        self.finish("crashed" if failed else "finished")


class DisabledProbe(Probe):
    """What `mode="disabled"` gives: the same methods, and nothing happens."""

    def __init__(self, run_id: str) -> None:
        self.faults = Faults()
        self._run_id = run_id
        self._is_open = False

    @property
    def run_id(self) -> str:
        """The identity that the run would have had."""
        return self._run_id

    @property
    def page(self) -> str:
        """There is none."""
        return ""

    @property
    def spool_directory(self) -> str:
        """There is none."""
        return ""

    @property
    def num_dropped_frames(self) -> int:
        """Nothing is recorded, so nothing is dropped."""
        return 0

    def _is_here(self) -> bool:
        return False


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1
    return isinstance(value, int | float | np.number) or (isinstance(value, np.ndarray) and value.size == 1)


def _detached(value: Any) -> Any:
    """A tensor is copied, not waited for: the writer's thread reads it."""
    if isinstance(value, Tensor):
        with torch.no_grad():
            return value.detach().reshape(()).clone()
    return value.reshape(()) if isinstance(value, np.ndarray) else value
