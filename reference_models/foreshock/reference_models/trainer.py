"""The training loop as an object: it can be stepped, saved, resumed and rolled back.

Shape suffixes: B windows, S tokens.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from foreshock.reference_models import random_state
from foreshock.reference_models.anticipation import Anticipation
from foreshock.reference_models.batch import Batch
from foreshock.reference_models.checkpoint import CheckpointStore, Memory, State
from foreshock.reference_models.corpus import Domain
from foreshock.reference_models.domain_losses import DomainLosses
from foreshock.reference_models.errors import CheckpointError, ConfigError
from foreshock.reference_models.feed import Feed
from foreshock.reference_models.gain_meter import GainMeter
from foreshock.reference_models.model_config import STREAM_DTYPES
from foreshock.reference_models.objective import Objective
from foreshock.reference_models.optimizers import build_optimizer
from foreshock.reference_models.origin import Origin
from foreshock.reference_models.parallel import World
from foreshock.reference_models.routing_plan import RoutingPlan
from foreshock.reference_models.train_config import TrainConfig
from foreshock.reference_models.transformer import Transformer
from foreshock.wire import domain_loss_series

GAIN_EVERY: Final = 5


class Probe(Protocol):
    """What the trainer asks of a probe."""

    def step(self, *, loss: Tensor, step: int) -> None:
        """Closes a step."""

    def log(self, values: Mapping[str, Any], *, step: int | None = None) -> None:
        """Records further series."""

    def domains(self, windows: Sequence[str]) -> None:
        """Takes the domain of each window of the next forward pass."""

    def note(self, kind: str, **detail: str | int | float | bool | None) -> None:
        """Records an event."""

    def finish(self, state: str = "finished") -> None:
        """Says how the run is over: finished or crashed."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What is known right after a step. `domain_losses` is by name, where there are several domains."""

    step: int
    loss: float
    learning_rate: float
    gain: float | None
    seconds: float
    domain_losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where states are kept, every how many steps, and under which run's name."""

    store: CheckpointStore
    every: int
    run_id: str | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ConfigError(f"checkpoint_every is {self.every}; give 1 or more steps")


class Trainer:
    """One model in training. `step` is the next step's number, `losses` those of the steps before it.

    `route` decides the experts of a step's batch ahead; it is called with the trainer before each step, when
    `feed.ahead(0)` is the step's batch. It is `anticipation`'s, and may be set to another or to None.
    Reactive anticipatory routing keeps short-term states in memory where no `keeping` is given.
    Raises ConfigError or CorpusError before anything is trained.
    """

    def __init__(
        self,
        config: TrainConfig,
        domains: Sequence[Domain],
        *,
        keeping: Keeping | None = None,
        world: World | None = None,
        measures_gain: bool = False,
    ) -> None:
        self.config, self.world = config, world or World()
        self.feed = Feed(domains, config, num_parts=_num_parts(config, self.world))
        self.model = Transformer(config.model, seed=config.seed).to(config.device)
        config.planted.check(self.model, [domain.name for domain in domains], config.num_steps)
        self.optimizer = build_optimizer(self.model, config)
        objective = Objective(self.model, z_loss=config.z_loss)
        # With one stream nothing but the gates would use the gates
        self._objective = self.world.wrap(objective, leaves_unused=config.model.frozen_gates)
        self._domain_names = [domain.name for domain in domains]
        self._domain_losses = DomainLosses(self._domain_names)
        self._schedule = config.learning_rate_schedule
        self._meter = GainMeter(self.model) if measures_gain else None
        self._keeping, self._origin = keeping or _short_memory(config), Origin.of(config, domains)
        self._goes_back_to: int | None = None
        self.anticipation = Anticipation(config.anticipatory)
        self.route: Callable[[Trainer], RoutingPlan | None] | None = self.anticipation.route
        self.probe: Probe | None = None
        self.step = 0
        self.losses: list[float] = []

    def steps(self) -> Iterator[StepReport]:
        """Trains to the last step, one an iteration; a rollback that was asked for comes before the next."""
        while True:
            if self._goes_back_to is not None:
                self._go_back(self._goes_back_to)
            if self.step >= self.config.num_steps:
                return
            yield self._take_step()

    @property
    def is_rolling_back(self) -> bool:
        """Whether a rollback has been asked for and waits for the step's end."""
        return self._goes_back_to is not None

    def state(self) -> State:
        """Everything that the steps to come depend on, as tensors and plain values.

        The tensors are the training's own: what keeps them across a step keeps a copy.
        """
        return {
            "origin": asdict(self._origin),
            "run_id": self._keeping.run_id if self._keeping else None,
            "step": self.step,
            "losses": torch.tensor(self.losses, dtype=torch.float64),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "data": self.feed.state(),
            "random": random_state.capture(),
            "routing": self.anticipation.state(),
        }

    def load_state(self, state: State, *, config_may_differ: bool = False) -> None:
        """Goes on from a state; with `config_may_differ` as a fork of the run, under another configuration.

        A fork has the same model and text; its optimizer's state is taken as it is. Raises CheckpointError
        for a state of another run.
        """
        self._origin.check(state, config_may_differ=config_may_differ)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint's tensors do not fit this model and optimizer: {error}"
            ) from error
        self._restore_options()
        self.feed.load_state(state["data"])
        self.anticipation.load_state(state["routing"], is_rollback=self.is_rolling_back)
        self.step, self.losses = int(state["step"]), state["losses"].tolist()
        random_state.restore(state["random"])

    def rollback(self, to_step: int, reason: str = "asked for") -> int:
        """Asks to go on, after the step that is being taken, from the newest kept state up to `to_step`.

        Returns the step from which the run will go on. It meets again the same text and the same faults.
        May be called from `on_alert` and between steps; of several processes, in each. Raises
        CheckpointError where no such state is kept.
        """
        kept = self._keeping.store.steps() if self._keeping else []
        found = max((step for step in kept if step <= to_step), default=None)
        if found is None:
            raise CheckpointError(
                f"no state up to step {to_step} is kept (there are {kept or 'none'}): keep more or more often"
            )
        self._goes_back_to = found
        if self.probe:
            self.probe.note("note", what=f"going back to step {found}", from_step=self.step, reason=reason)
        return found

    def num_trailing_nonfinite(self) -> int:
        """How many of the last losses in a row are no numbers."""
        count = 0
        for loss in reversed(self.losses):
            if math.isfinite(loss):
                break
            count += 1
        return count

    def _go_back(self, step: int) -> None:
        assert self._keeping is not None  # rollback() has found the step in it
        self.load_state(self._keeping.store.load(step))
        self._goes_back_to = None
        if self.world.is_first or not self._keeping.store.is_shared:
            self._keeping.store.forget_after(step)

    def _take_step(self) -> StepReport:
        started, step, planted = time.perf_counter(), self.step, self.config.planted
        planted.strike(step, self.model, self.optimizer)
        precision = planted.precision(step, self.config.model.precision)
        self.model.stream_dtype = STREAM_DTYPES[precision]
        rate = self._schedule(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["rate_factor"]
        loss, domain_losses = self._fill_gradients(self._next_batch(), self.config.loss_scale_at(precision))
        if self.config.clip is not None and planted.is_clipped(step):
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self.optimizer.step()
        self.model.balance_experts()
        if self.probe and planted.is_watched(step):
            self._tell(self.probe, loss, domain_losses)
        gain = self._meter.read() if self._meter and step % GAIN_EVERY == 0 else None
        self.losses.append(loss.item())
        self.step += 1
        self.anticipation.judge(self)
        self._keep()
        return StepReport(step, self.losses[-1], rate, gain, time.perf_counter() - started, domain_losses)

    def _next_batch(self) -> Batch:
        plan = self.route(self) if self.route else None
        batch = self.feed.next().to(self.config.device)
        return (batch if plan is None else replace(batch, plan=plan)).part(self.world.rank, self.world.size)

    def _fill_gradients(self, batch: Batch, loss_scale: float) -> tuple[Tensor, dict[str, float]]:
        """Adds up the gradients of the batch's parts; the mean loss over all parts of all ranks."""
        num_micro = self.config.accumulate
        self.optimizer.zero_grad(set_to_none=True)
        cross_entropy: list[Tensor] = []
        windows: list[Tensor] = []
        for number in range(num_micro):
            part = batch.part(number, num_micro)
            is_last = number == num_micro - 1
            self._name_domains(part)
            with self.world.synchronised(self._objective, is_last):
                losses = self._objective(part.inputs_BS, part.targets_BS, part.plan)
                # A power of two by default, so that the scale costs no digits
                torch.autograd.backward([losses.total * (loss_scale / num_micro)])
            cross_entropy.append(losses.cross_entropy)
            windows.append(losses.window_B)
        if loss_scale != 1.0:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.div_(loss_scale)
        loss = cross_entropy[0] if num_micro == 1 else torch.stack(cross_entropy).mean()
        loss = self.world.total(loss) / self.world.size
        return loss, self._domain_losses.of(torch.cat(windows), batch.domain_B, self.world)

    def _name_domains(self, part: Batch) -> None:
        """Tells the probe which domain each window of the next forward pass is of."""
        if self.probe and len(self._domain_names) > 1:
            self.probe.domains([self._domain_names[number] for number in part.domain_B.tolist()])

    def _tell(self, probe: Probe, loss: Tensor, domain_losses: Mapping[str, float]) -> None:
        probe.step(loss=loss, step=self.step)
        for name, domain_loss in domain_losses.items():
            # A series each: a batch that holds no window of a domain has no value for it
            probe.log({domain_loss_series(name): domain_loss}, step=self.step)
        if self.anticipation.staleness:
            probe.log(self.anticipation.staleness, step=self.step)

    def _keep(self) -> None:
        keeping = self._keeping
        # A state that was kept now could push out the one that a rollback goes back to
        if keeping is None or self.is_rolling_back or not math.isfinite(self.losses[-1]):
            return
        is_due = self.step % keeping.every == 0 or self.step == self.config.num_steps
        if is_due and (self.world.is_first or not keeping.store.is_shared):
            keeping.store.save(self.step, self.state())

    def _restore_options(self) -> None:
        """The groups' options are the configuration's: a fork may have another decay or other betas."""
        fresh = build_optimizer(self.model, self.config)
        for group, planned in zip(self.optimizer.param_groups, fresh.param_groups, strict=True):
            group.update({key: value for key, value in planned.items() if key != "params"})


def _short_memory(config: TrainConfig) -> Keeping | None:
    """States for a rollback of the length that is asked for, or half as much again."""
    if not config.anticipatory.rolls_back:
        return None
    every = max(1, config.anticipatory.rollback_steps // 2)
    # The newest, and as far back as the newest that lies before the rollback: at most 3 spacings
    return Keeping(Memory(keep=4), every)


def _num_parts(config: TrainConfig, world: World) -> int:
    num_parts = config.accumulate * world.size
    if config.batch_size % num_parts:
        raise ConfigError(
            f"batch_size is {config.batch_size}; give a multiple of {num_parts}: {world.size} processes "
            f"with {config.accumulate} parts each"
        )
    return num_parts
