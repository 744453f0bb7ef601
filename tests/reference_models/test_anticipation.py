"""Anticipatory routing at work: which parameters choose, what survives, and the answer to an alarm."""

import copy
import dataclasses
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.probe.conftest import ScriptedCollector
from tests.reference_models.conftest import Telemetry, tiny
from tests.reference_models.test_anticipatory import ALERT
from tests.reference_models.test_trainer import same
from torch import Tensor

from foreshock.probe import attach
from foreshock.reference_models.anticipatory import AnticipatoryRouting
from foreshock.reference_models.checkpoint import Folder, Memory
from foreshock.reference_models.corpus import Domain
from foreshock.reference_models.faults import RouterScaled
from foreshock.reference_models.loss_spike import LossSpike
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.train import run, train
from foreshock.reference_models.train_config import TrainConfig
from foreshock.reference_models.trainer import Keeping, Trainer
from foreshock.reference_models.transformer import Transformer
from foreshock.wire import Alert

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {"width": 32, "context": 16, "num_experts": 8}
# One layer by a hash, two that learn; the bias moves fast enough to have a say
LAYERS = ModelConfig.sized("residual", 3, num_hash_layers=1, bias_rate=0.05, **SMALL)
ALWAYS = AnticipatoryRouting("always", lag=3, staleness_every=2)
# What a router chooses matters most where a token sees one expert and nothing else
FRAIL = ModelConfig.sized("residual", 1, top_k=1, shared_expert=False, **SMALL)
FAULTY = dataclasses.replace(
    tiny(),
    model=FRAIL,
    num_steps=72,
    batch_size=8,
    faults=(RouterScaled(step=50, factor=-1.0),),
    anticipatory=AnticipatoryRouting(
        "reactive", lag=4, period_steps=15, rollback_steps=6, spike=LossSpike(window=32)
    ),
)


def run_of(model: ModelConfig, anticipatory: AnticipatoryRouting, **changes: Any) -> TrainConfig:
    return dataclasses.replace(tiny(), model=model, anticipatory=anticipatory, **changes)


def choices(model: Transformer, tokens_BS: Tensor) -> list[Tensor]:
    """What a whole forward pass of a copy of the model chooses, layer by layer."""
    judge = copy.deepcopy(model).eval()
    with torch.no_grad():
        judge(tokens_BS)
    return [routing.indices for moe in judge.moe_layers if (routing := moe.router.last)]


def used(trainer: Trainer) -> list[Tensor]:
    """What the last step was routed by."""
    return [routing.indices for moe in trainer.model.moe_layers if (routing := moe.router.last)]


def events(found: Sequence[Any]) -> list[tuple[str, int, int | None]]:
    return [(event.kind.removeprefix("routing_anticipatory_"), event.step, event.to_step) for event in found]


@pytest.mark.parametrize("switched_on", [0, 5])
def test_a_step_is_routed_by_the_parameters_of_lag_steps_ago_since_it_was_switched_on(
    switched_on: int, two_domains: tuple[Domain, ...]
) -> None:
    lag, until = 3, 9
    config = (
        ALWAYS
        if switched_on == 0
        else AnticipatoryRouting("reactive", lag=lag, period_steps=until - 4, rollback_steps=0)
    )
    trainer = Trainer(run_of(LAYERS, config), two_domains)
    before: list[Transformer] = []
    num_stale = 0
    for step in range(12):
        before.append(copy.deepcopy(trainer.model))
        tokens_BS = trainer.feed.ahead(0).inputs_BS
        if step == switched_on - 1:
            trainer.anticipation.alerts.append(ALERT)
        next(trainer.steps())
        is_on = step >= switched_on and (switched_on == 0 or step < until)
        chosen_by = max(step - lag, switched_on) if is_on else step
        expected = choices(before[chosen_by], tokens_BS)
        assert all(map(torch.equal, used(trainer), expected)), step
        own = choices(before[step], tokens_BS)
        assert torch.equal(own[0], expected[0]), "a hash does not change"
        num_stale += not torch.equal(own[1], expected[1])
    # A plan of now, at the step of switching on, is the router's own choice; the others are not
    assert num_stale == (11 if switched_on == 0 else until - switched_on - 1)
    assert events(trainer.anticipation.events) == (
        [("on", 0, None)] if switched_on == 0 else [("on", 5, None), ("off", 9, None)]
    )


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (LAYERS, {"accumulate": 2, "num_steps": 8}),
        (
            ModelConfig.sized("mhc", 1, recompute=True, balance_rate=0.01, precision="bf16", **SMALL),
            {"accumulate": 4, "num_steps": 6, "warmup_steps": 1},
        ),
    ],
    ids=["residual", "mhc in bf16, streams recomputed"],
)
def test_a_lag_of_0_is_none_bit_for_bit(
    model: ModelConfig, changes: dict[str, Any], two_domains: tuple[Domain, ...]
) -> None:
    states = []
    for anticipatory in (AnticipatoryRouting("always", lag=0), AnticipatoryRouting()):
        trainer = Trainer(run_of(model, anticipatory, **changes), two_domains)
        run(trainer)
        states.append({name: trainer.state()[name] for name in ("losses", "model", "optimizer")})
    assert same(*states)
    stale = train(run_of(model, AnticipatoryRouting("always", lag=1), **changes), domains=two_domains)
    assert list(stale.losses) != states[0]["losses"].tolist()


@pytest.mark.parametrize("lag", [1, 5])
def test_resumed_and_rolled_back_while_on_it_is_the_uninterrupted_run_bit_for_bit(
    lag: int, two_domains: tuple[Domain, ...], tmp_path: Path
) -> None:
    config = run_of(LAYERS, dataclasses.replace(ALWAYS, lag=lag), accumulate=2)
    whole = Folder(tmp_path / "whole", keep=9)
    uninterrupted = train(config, domains=two_domains, keeping=Keeping(whole, every=5))
    for kept in (5, 10):
        resumed = Folder(tmp_path / f"from {kept}", keep=9)
        result = train(
            config, domains=two_domains, keeping=Keeping(resumed, every=5), resume_from=whole.load(kept)
        )
        assert result.losses == uninterrupted.losses
        assert same(resumed.load(12), whole.load(12))
    trainer = Trainer(config, two_domains, keeping=Keeping(Memory(keep=9), every=3))

    def on_step(report: Any) -> None:
        if report.step == 10 and len(trainer.anticipation.events) == 1:
            trainer.rollback(8)

    result = run(trainer, on_step=on_step)
    assert result.losses == uninterrupted.losses
    assert events(result.routing_events) == [("on", 0, None), ("on", 6, None)]


def test_a_planted_router_fault_is_answered_by_a_rollback_a_period_and_the_way_on(
    two_domains: tuple[Domain, ...], tmp_path: Path
) -> None:
    plain = Trainer(dataclasses.replace(FAULTY, anticipatory=AnticipatoryRouting()), two_domains)
    off = tuple(report.loss for report in islice(plain.steps(), 51))
    telemetry = Listener()
    folder = Folder(tmp_path, keep=99)
    result = train(FAULTY, domains=two_domains, attach=lambda *_: telemetry, keeping=Keeping(folder, every=3))
    assert (result.state, len(result.losses)) == ("finished", 72)
    assert events(result.routing_events) == [("rollback", 51, 42), ("on", 42, None), ("off", 65, None)]
    assert all("noises above" in event.reason for event in result.routing_events[:2])
    assert telemetry.steps == [*range(51), *range(42, 72)]
    told = [(kind, detail.get("step", detail.get("from_step"))) for kind, detail in telemetry.notes]
    on, off_again = "routing_anticipatory_on", "routing_anticipatory_off"
    assert told == [("note", 51), (on, 42), (off_again, 65)]
    # The fault strikes again; the experts are those of before for as long as the lag, and then no longer
    losses = result.losses
    assert off[50] > 1.3 * max(off[40:50])
    assert losses[:42] == off[:42]
    assert max(losses[50:54]) < 0.8 * off[50]
    assert losses[54] > 1.3 * max(losses[42:54])
    for kept in (60, 48):
        resumed = train(FAULTY, domains=two_domains, resume_from=folder.load(kept))
        assert resumed.losses == losses, kept
        assert resumed.routing_events == result.routing_events


class Listener(Telemetry):
    """A probe that keeps its notes, and hands an alert over within a step as a real one does."""

    def __init__(self, on_alert: Any = None, at_step: int = -1) -> None:
        super().__init__()
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.values: dict[tuple[str, int], float] = {}
        self._on_alert, self._at_step = on_alert, at_step

    def step(self, *, loss: Tensor, step: int) -> None:
        super().step(loss=loss, step=step)
        if step == self._at_step:
            self._at_step = -1
            self._on_alert(ALERT)

    def domains(self, windows: Any) -> None:
        """Not looked at."""

    def log(self, values: Any, *, step: int | None = None) -> None:
        super().log(values, step=step)
        self.values |= {(name, step or 0): value for name, value in values.items()}

    def note(self, kind: str, **detail: Any) -> None:
        self.notes.append((kind, detail))


def test_an_alert_is_answered_as_a_spike_is_from_states_in_memory(two_domains: tuple[Domain, ...]) -> None:
    reactive = AnticipatoryRouting("reactive", lag=2, period_steps=7, rollback_steps=4)
    alerts: deque[Alert] = deque()
    listener = Listener(alerts.append, at_step=9)
    result = train(
        run_of(LAYERS, reactive, num_steps=20),
        domains=two_domains,
        attach=lambda *_: listener,
        alerts=alerts,
    )
    assert events(result.routing_events) == [("rollback", 10, 4), ("on", 4, None), ("off", 16, None)]
    assert {event.reason for event in result.routing_events[:2]} == {"alert loss_spike: it rose"}
    assert not alerts


def test_an_alarm_while_it_is_on_is_answered_already_and_one_without_a_state_switches_on_at_once(
    two_domains: tuple[Domain, ...],
) -> None:
    reactive = AnticipatoryRouting("reactive", lag=2, period_steps=6, rollback_steps=4)
    trainer = Trainer(run_of(LAYERS, reactive, num_steps=14), two_domains)
    for report in trainer.steps():
        if report.step in (0, 1, 3):
            trainer.anticipation.alerts.append(ALERT)
    # Heard after step 1, when nothing could be gone back to; those of step 2 and 4 change nothing
    assert events(trainer.anticipation.events) == [("on", 2, None), ("off", 7, None)]


def test_a_real_probe_hands_the_collectors_alert_over(
    two_domains: tuple[Domain, ...], tmp_path: Path
) -> None:
    reactive = AnticipatoryRouting("reactive", lag=2, period_steps=8, rollback_steps=4, staleness_every=1)
    trainer = Trainer(run_of(FRAIL, reactive, num_steps=5000), two_domains)
    happened = trainer.anticipation.events
    with (
        closing(ScriptedCollector()) as collector,
        attach(
            trainer.model,
            trainer.optimizer,
            url=collector.url,
            directory=tmp_path,
            total_steps=5000,
            on_alert=trainer.anticipation.alerts.append,
        ) as probe,
    ):
        collector.alerts = [ALERT]
        trainer.probe = probe
        for _ in trainer.steps():
            if any(event.kind.endswith("off") for event in happened):
                break
        assert not probe.faults.counts
    kinds = [kind for kind, _, _ in events(happened)]
    # The first answer may come before there is anything to go back to
    assert kinds in (["rollback", "on", "off"], ["on", "off"])


def test_staleness_is_the_share_of_experts_that_the_router_of_now_would_not_choose(
    two_domains: tuple[Domain, ...],
) -> None:
    listener = Listener()
    trainer = Trainer(run_of(LAYERS, ALWAYS), two_domains)
    trainer.probe = listener
    for step in range(12):
        own = choices(trainer.model, trainer.feed.ahead(0).inputs_BS)
        next(trainer.steps())
        for layer, now, planned in zip((1, 3, 5), own, used(trainer), strict=True):
            pairs = zip(now.flatten(0, 1).tolist(), planned.flatten(0, 1).tolist(), strict=True)
            shares = [1 - len(set(one) & set(other)) / 2 for one, other in pairs]
            name = f"router_staleness/{layer}"
            if layer == 1 or step % 2:
                assert (name, step) not in listener.values
            else:
                assert listener.values[name, step] == pytest.approx(sum(shares) / len(shares), abs=1e-12)
    assert listener.values["router_staleness/3", 0] == 0
    assert listener.values["router_staleness/3", 10] > 0


def test_a_fork_takes_the_plans_along_or_drops_them(two_domains: tuple[Domain, ...]) -> None:
    memory = Memory(keep=9)
    config = run_of(LAYERS, ALWAYS)
    train(config, domains=two_domains, keeping=Keeping(memory, every=6))
    for anticipatory, told in (
        (AnticipatoryRouting(), [("on", 0, None), ("off", 6, None)]),
        (AnticipatoryRouting("always", lag=1), [("on", 0, None)]),
        (AnticipatoryRouting("always", lag=6), [("on", 0, None)]),
    ):
        fork = Trainer(run_of(LAYERS, anticipatory), two_domains)
        fork.load_state(memory.load(6), config_may_differ=True)
        assert events(run(fork).routing_events) == told
