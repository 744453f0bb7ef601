"""All observers of one model, and the sheets that they write."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from foreshock.probe.adapters.named import with_streams
from foreshock.probe.adapters.spoken import SpokenMixing
from foreshock.probe.budget import Budget
from foreshock.probe.clock import RARE_EVERY, SLOW_EVERY, Clock
from foreshock.probe.faults import Faults
from foreshock.probe.findings import Findings, device_of, look_at
from foreshock.probe.frames import PendingRow
from foreshock.probe.observers import (
    AttentionObserver,
    Columns,
    DomainObserver,
    EmbeddingObserver,
    GradientObserver,
    GuardedObserver,
    MixingObserver,
    NormObserver,
    Observer,
    OrthogonalityObserver,
    PartitionObserver,
    ReplayObserver,
    RoutingObserver,
    StreamObserver,
    SwigluObserver,
    TearObserver,
    TrustObserver,
    UpdateObserver,
)
from foreshock.probe.observers.orthogonality import muon_matrices
from foreshock.probe.plan import Plan
from foreshock.probe.rows import Row
from foreshock.wire import Cadence


@dataclass(frozen=True, slots=True)
class Reading:
    """What one closed step leaves behind; a row is None where no slot was free."""

    rows: Mapping[Cadence, PendingRow | None]
    learning_rate: float
    skipped: float
    clip_threshold: float | None
    stream_dtype_max: float
    is_whole: Mapping[Cadence, bool]


class Instruments:
    """Hooks the model and the optimizer, and reads the sheets out at the end of each step."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer | None,
        *,
        mixing: Mapping[str, str] | None,
        observers: Sequence[Observer],
        composite_every: int,
        clip_threshold: float | None,
        num_sampled_tokens: int,
        deep: bool,
        all_layers: bool,
        budget: float | None,
        faults: Faults,
    ) -> None:
        self._model, self.findings = model, look_at(model, mixing)
        self._clip_threshold, self._faults = clip_threshold, faults
        self._has_optimizer = optimizer is not None
        self.trust: TrustObserver | None = None
        self._parameter_dtype = next(
            (p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32
        )
        points = self.findings.mixing
        self._device = device_of(model)
        self._gradient = GradientObserver(
            model.parameters(), points[0].parameters() if points else (), optimizer, faults
        )
        self._make_mixing = partial(MixingObserver, num_sampled_tokens=num_sampled_tokens, faults=faults)
        self._mixing = self._make_mixing(points)
        self._observers: list[Observer] = [self._mixing] if points else []
        self._observers.append(self._gradient)
        self._observers += observers_of(self.findings, num_sampled_tokens=num_sampled_tokens, faults=faults)
        if optimizer is not None:
            update = UpdateObserver(model.parameters(), optimizer, faults)
            self.trust = TrustObserver(update, self._gradient)
            self._observers += [update, self.trust]
            if muon_matrices(optimizer):
                self._observers.append(OrthogonalityObserver(optimizer, faults))
        self.replay = next((one for one in self._observers if isinstance(one, ReplayObserver)), None)
        self.domains = next((one for one in self._observers if isinstance(one, DomainObserver)), None)
        self._observers += [GuardedObserver(observer, faults) for observer in observers]
        every: dict[Cadence, int] = {"composite": composite_every, "slow": SLOW_EVERY, "rare": RARE_EVERY}
        self.clock = Clock(dict.fromkeys(every, 1) if deep else every)
        self.budget = None if deep or budget is None else Budget(self.clock, budget)
        self._num_spoken = 0
        self._all_layers = all_layers or deep
        self._open_sheets()

    def _open_sheets(self) -> None:
        """Gives every observer its places, and starts it."""
        loss: Columns = {"step": ("loss",)}
        columns = [loss, *(observer.columns for observer in self._observers)]
        self.plan = Plan.of(columns, all_layers=self._all_layers)
        self._sheets = {cadence: Row(len(names), self._device) for cadence, names in self.plan.sheets.items()}
        self._loss = self._sheets["step"].values[0]
        taken: dict[Cadence, int] = dict.fromkeys(self._sheets, 0) | {"step": 1}
        for number, observer in enumerate(self._observers):
            places: dict[Cadence, Tensor] = {}
            for cadence, names in observer.columns.items():
                if names:
                    places[cadence] = self._sheets[cadence].values[taken[cadence] :][: len(names)]
                    taken[cadence] += len(names)
            try:
                observer.start(places, self.clock)
            except Exception:
                for started in self._observers[:number]:
                    started.close()
                raise

    def close_step(self, step: int, loss: Tensor | float | None, grad_norm: Tensor | float | None) -> Reading:
        """Sends the sheets that are due on their way and begins the next step."""
        gradient = self._gradient
        with torch.no_grad():
            if isinstance(loss, Tensor):
                self._loss.copy_(loss.detach().reshape(()))
            if isinstance(grad_norm, Tensor):
                gradient.take_norm(grad_norm.detach())
            for observer in self._observers:
                self._end_step_of(observer)
            reading = Reading(
                rows={
                    cadence: row.send()
                    for cadence, row in self._sheets.items()
                    if cadence == "step" or self.clock.is_due[cadence]
                },
                learning_rate=gradient.learning_rate,
                skipped=float(self._has_optimizer and not gradient.has_stepped),
                clip_threshold=gradient.threshold if gradient.has_clipped else self._clip_threshold,
                stream_dtype_max=self._stream_dtype_max(),
                is_whole=dict(self.clock.is_whole),
            )
        gradient.next_step()
        self.clock.begin(step + 1)
        return reading

    def _end_step_of(self, observer: Observer) -> None:
        """Whatever fails for one observer, the others' numbers are sent."""
        try:
            observer.end_step()
        except Exception as error:
            self._faults.count(f"{type(observer).__name__} at a step's end", error)

    def observe(self, layer: int, matrix: Tensor, streams: Tensor | None) -> None:
        """Takes a layer's matrix as the training script has it; a layer's first is only counted."""
        if self.findings.mixing:
            raise ValueError(
                "the model's mixing matrices are found by themselves; observe is for those that are not"
            )
        if layer < len(self._mixing.points) and self.clock.is_due["step"]:
            with torch.no_grad(), self.clock.charging("step"):
                self._mixing.write(layer, with_streams(matrix.detach(), streams))
        self._num_spoken = max(self._num_spoken, layer + 1)

    def take_new_plan(self) -> Plan | None:
        """Makes room for layers that were observed for the first time in the step that has just ended."""
        if self._num_spoken <= len(self._mixing.points):
            return None
        for observer in self._observers:
            observer.close()
        if self._mixing.points:
            self._observers.remove(self._mixing)
        self._mixing = self._make_mixing([SpokenMixing(layer) for layer in range(self._num_spoken)])
        self._observers.insert(0, self._mixing)
        self._open_sheets()
        return self.plan

    def seen_config(self) -> dict[str, int | float]:
        """What training has shown of the configuration so far."""
        seen: dict[str, int | float] = {}
        if self._mixing.num_streams is not None:
            seen["num_streams"] = self._mixing.num_streams
        if self._num_spoken:
            seen["num_mixing_layers"] = self._num_spoken
        if self._gradient.threshold is not None:
            seen["clip_threshold"] = self._gradient.threshold
        return seen

    def close(self) -> None:
        """Removes every hook."""
        for observer in self._observers:
            observer.close()

    def _stream_dtype_max(self) -> float:
        """Where the stream overflows: the model's word (it may change), else the parameters' dtype."""
        dtype = getattr(self._model, "stream_dtype", None)
        if not isinstance(dtype, torch.dtype):
            dtype = self._parameter_dtype
        return torch.finfo(dtype).max if dtype.is_floating_point else math.inf


def observers_of(findings: Findings, *, num_sampled_tokens: int, faults: Faults) -> list[Observer]:
    """The observers of what was found beside mixing matrices."""
    observers: list[Observer] = []
    if findings.blocks and not findings.mixing:
        blocks = [block for _, block in findings.blocks]
        observers.append(StreamObserver(blocks, num_sampled_tokens=num_sampled_tokens, faults=faults))
    if findings.embedding:
        observers.append(EmbeddingObserver(findings.embedding[1], faults))
    if findings.head:
        observers.append(PartitionObserver(findings.head[1], faults))
    if findings.norms:
        norms = [norm for _, norm in findings.norms]
        observers.append(NormObserver(norms, num_sampled_tokens=num_sampled_tokens, faults=faults))
    if findings.attention:
        observers.append(AttentionObserver([module for _, module in findings.attention], faults=faults))
    if findings.gated:
        observers.append(SwigluObserver(findings.gated, faults=faults))
    if findings.routers:
        observers.append(DomainObserver(findings.routers, faults=faults))
        observers += [
            kind(findings.routers, num_sampled_tokens=num_sampled_tokens, faults=faults)
            for kind in (RoutingObserver, ReplayObserver, TearObserver)
        ]
    return observers
