"""The probe at its public door: it records what happened and never harms the run."""

import gc
import math
import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch.nn.utils import clip_grad
from torch.utils._python_dispatch import TorchDispatchMode

from foreshock.probe import Probe, ProbeError, StopTraining, attach
from foreshock.reference_models.model_config import ModelConfig
from foreshock.reference_models.optimizers import build_optimizer
from foreshock.reference_models.train_config import OptimizerConfig, TrainConfig
from foreshock.reference_models.transformer import Transformer
from foreshock.wire import Alert

ALERT = Alert(
    number=1,
    alert_id=0,
    run_id="r",
    attempt=0,
    rule="exit_amax",
    claim="rule",
    severity="critical",
    state="firing",
    subject="layer 0",
    step=7,
    value=12.5,
    reason="because",
    advice="stop",
    time=0.0,
)


class Counted(TorchDispatchMode):
    """Counts the operators that read a device value back."""

    def __init__(self) -> None:
        super().__init__()
        self.syncs: list[str] = []
        self.num_operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.num_operators += 1
        name = func.name()
        if any(word in name for word in ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal")):
            self.syncs.append(name)
        return func(*args, **(kwargs or {}))


def test_nothing_on_the_hot_path_reads_a_value_back(loop: Any, tmp_path: Path) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, total_steps=9)
    tokens = torch.zeros(2, 9, dtype=torch.long)
    for _ in range(2):
        with Counted() as counted:
            loss = loop.model(tokens).mean()
        assert counted.num_operators > 100 and counted.syncs == []
        loss.backward()
        torch.nn.utils.clip_grad_norm_(loop.model.parameters(), 1.0)
        loop.optimizer.step()
        with Counted() as counted:
            probe.log({"x": 1.0, "tensor": loss.detach()})
            probe.step(loss)
        assert counted.num_operators > 50 and counted.syncs == []
    probe.finish()
    assert not probe.faults.counts


def test_no_observer_of_a_whole_model_reads_a_value_back(tmp_path: Path) -> None:
    """The model's own experts do, to sort their tokens: with the probe as often, and no more."""

    def syncs(watched: bool) -> Counter[str]:
        config = ModelConfig(connection="mhc", num_blocks=2, width=32, context=16, num_experts=4)
        model = Transformer(config, seed=0)
        optimizer = build_optimizer(model, TrainConfig(model=config, optimizer=OptimizerConfig(name="muon")))
        probe = attach(model, optimizer, mode="offline", directory=tmp_path, deep=True) if watched else None
        counts: Counter[str] = Counter()
        for _ in range(3):
            with Counted() as counted:
                if probe:
                    probe.domains(["code", "prose"], torch.ones(2))
                loss = model.loss(torch.zeros(2, 17, dtype=torch.long))
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                if probe:
                    probe.step(loss)
            counts += Counter(counted.syncs)
        if probe:
            probe.finish()
            assert not probe.faults.counts
        return counts

    assert syncs(True) == syncs(False)


def test_training_is_bit_for_bit_the_same_with_and_without_the_probe(
    make_loop: Callable[[], Any], tmp_path: Path
) -> None:
    losses = []
    for watched in (False, True):
        loop = make_loop()
        torch.manual_seed(3)
        probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path) if watched else None
        run = []
        for _ in range(5):
            loss = loop.step()
            run.append((float(loss), float(torch.rand(()))))
            if probe:
                probe.step(loss)
        if probe:
            probe.finish()
        losses.append((run, [parameter.detach().clone() for parameter in loop.model.parameters()]))
    assert losses[0][0] == losses[1][0]
    assert all(torch.equal(a, b) for a, b in zip(losses[0][1], losses[1][1], strict=True))


def test_detach_leaves_model_optimizer_and_torch_as_they_were(loop: Any, tmp_path: Path) -> None:
    original = clip_grad._clip_grads_with_norm_
    before = {name: value.clone() for name, value in loop.model.state_dict().items()}
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    other = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    assert clip_grad._clip_grads_with_norm_ is not original
    probe.detach()
    probe.detach()
    assert clip_grad._clip_grads_with_norm_ is not original
    other.detach()
    assert clip_grad._clip_grads_with_norm_ is original
    assert all(not module._forward_hooks for module in loop.model.modules())
    assert not loop.optimizer._optimizer_step_pre_hooks
    after = loop.model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    probe.step(1.0)
    probe.log({"late": 1.0})


def test_two_probes_on_one_model_record_the_same(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    probes = [attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path) for _ in range(2)]
    for _ in range(3):
        loss = loop.step()
        for probe in probes:
            probe.step(loss)
    for probe in probes:
        probe.finish()
    first, second = (read_spool(probe).series for probe in probes)
    for column in first:
        if not column.endswith("_seconds"):
            np.testing.assert_array_equal(list(first[column].values()), list(second[column].values()))


def test_evaluation_does_not_touch_the_signals(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    loss = loop.step()
    loop.model.eval()
    with torch.no_grad():
        loop.model.layers[0].matrices_BSnn.mul_(100)
        loop.model(torch.zeros(2, 9, dtype=torch.long))
    probe.step(loss)
    probe.finish()
    assert read_spool(probe).series["layer_amax_forward_max[0]"][0] < 20


def test_a_step_without_a_forward_leaves_its_signals_out_instead_of_repeating_them(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, total_steps=5)
    probe.step(loop.step())
    probe.step()
    probe.step(loop.step())
    probe.finish()
    series = read_spool(probe).series
    assert list(series["layer_amax_forward_mean[0]"]) == [0, 2]
    assert list(series["composite_norm_inf_max[4]"]) == [0, 2]
    assert list(series["loss"]) == [0, 2]
    assert series["step_skipped"] == {0: 0.0, 1: 1.0, 2: 0.0}


def test_a_step_that_goes_back_opens_a_new_attempt(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    for step in (0, 1, 2, 1, 2):
        probe.step(loop.step(), step=step)
    probe.finish()
    first, second = read_spool(probe, 0), read_spool(probe, 1)
    assert list(first.series["loss"]) == [0, 1, 2] and list(second.series["loss"]) == [1, 2]
    assert [event.kind for event in first.events] == ["rollback"]
    assert [event.kind for event in second.events] == ["finished"]


def test_numbers_given_by_hand_win(loop: Any, read_spool: Callable[..., Any], tmp_path: Path) -> None:
    probe = attach(loop.model, mode="offline", directory=tmp_path, clip_threshold=2.0)
    loop.step(clip=None)
    probe.step(1.5, grad_norm=8.0, learning_rate=0.5)
    probe.step(torch.tensor([2.5]), grad_norm=torch.tensor(math.inf))
    probe.step(math.nan)
    probe.finish()
    series = read_spool(probe).series
    assert series["grad_norm"] == {0: 8.0, 1: math.inf}
    assert series["clip_coefficient"] == {0: pytest.approx(0.25), 1: 0.0}
    assert series["learning_rate"][0] == 0.5
    assert series["loss"][1] == 2.5 and math.isnan(series["loss"][2])


def test_a_fault_inside_never_reaches_training(
    loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("broken inside")

    monkeypatch.setattr("foreshock.probe.observers.mixing.layer_gains", broken)
    monkeypatch.setattr("foreshock.probe.observers.mixing.composite_gains", broken)
    monkeypatch.setattr(torch, "_foreach_norm", broken)
    loss = loop.step(clip=None)
    probe.step(loss)
    monkeypatch.setattr(probe._instruments, "close_step", broken)
    probe.step(loss)
    probe.step("nonsense")  # type: ignore[arg-type]
    probe.finish()
    assert probe.faults.counts["observing a mixing matrix: RuntimeError"] == 5
    assert sum("broken inside" in record.message for record in caplog.records) == 3


def test_frames_beyond_the_queues_bound_are_counted(loop: Any, tmp_path: Path) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    probe._queue._max_frames = 0
    probe.step(loop.step())
    # The step, its composites, what is slow, what is rare, and what it shows of the run
    assert probe.num_dropped_frames == 5
    probe.finish()


def test_deep_is_every_signal_at_every_step(
    loop: Any, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, deep=True)
    for _ in range(3):
        probe.step(loop.step())
    probe.finish()
    series = read_spool(probe).series
    assert {len(series[name]) for name in ("update_rms", "composite_norm_two_max[1]", "log_z_mean")} == {3}


def test_a_critical_alert_deepens_for_a_while(
    loop: Any, tmp_path: Path, read_spool: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.probe.probe.DEEP_STEPS", 4)
    monkeypatch.setattr(Probe.deepen, "__defaults__", (4,))
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    for step in range(22):
        probe.step(loop.step())
        if step == 11:
            probe._alerts.append(ALERT)
    probe.finish()
    spooled = read_spool(probe)
    assert list(spooled.series["update_rms"]) == [0, 10, 14, 15, 16, 17, 20]
    assert (spooled.events[0].kind, spooled.events[0].step) == ("deep", 12)


def test_strict_raises_what_would_only_be_told(loop: Any, tmp_path: Path) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, strict=True)
    with pytest.raises(ProbeError, match="'bad' = str"):
        probe.log({"bad": "words"})
        probe.step(1.0)
    with pytest.raises(ProbeError, match="layer is -1"):
        probe.observe("h_res", torch.eye(2), layer=-1)
    probe.finish()


def test_disabled_does_nothing_at_all(loop: Any, tmp_path: Path) -> None:
    with attach(loop.model, loop.optimizer, mode="disabled", directory=tmp_path) as probe:
        probe.log({"x": 1})
        probe.step(loop.step())
    assert list(tmp_path.iterdir()) == []
    assert all(not module._forward_hooks for module in loop.model.modules())


def test_a_forked_worker_leaves_the_probe_alone(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    child = os.fork()
    if child == 0:
        probe.step(1.0)
        probe.finish()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    probe.step(loop.step())
    probe.finish()
    assert list(read_spool(probe).series["loss"]) == [0]
    assert [event.kind for event in read_spool(probe).events] == ["finished"]


def test_an_exception_in_the_loop_ends_the_run_as_crashed(
    loop: Any, read_spool: Callable[..., Any], tmp_path: Path
) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path) as probe,
    ):
        probe.step(loop.step())
        raise KeyboardInterrupt
    assert [event.kind for event in read_spool(probe).events] == ["crashed"]


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def online(loop: Any, collector: Any, tmp_path: Path, **options: Any) -> Probe:
    return attach(loop.model, loop.optimizer, mode="online", url=collector.url, directory=tmp_path, **options)


def test_alerts_reach_the_training_loop_once(loop: Any, collector: Any, tmp_path: Path) -> None:
    collector.alerts = [ALERT]
    seen: list[Alert] = []
    probe = online(loop, collector, tmp_path, on_alert=seen.append)

    def stepped() -> bool:
        probe.step(loop.step())
        return bool(seen)

    wait_until(stepped)
    collector.alerts = [ALERT, msgspec.structs.replace(ALERT, number=2, state="resolved")]
    wait_until(lambda: stepped() and len(seen) == 2)
    probe.finish()
    assert [alert.state for alert in seen] == ["firing", "resolved"]


def test_only_stop_training_leaves_on_alert(
    loop: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Exception] = [ValueError("the user's own bug"), StopTraining()]

    def on_alert(alert: Alert) -> None:
        raise answers.pop(0)

    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, on_alert=on_alert)
    probe._alerts.append(ALERT)
    probe.step(loop.step())
    assert probe.faults.counts["on_alert: ValueError"] == 1
    probe._alerts.append(ALERT)
    with pytest.raises(StopTraining):
        probe.step(loop.step())
    probe.finish()


def test_no_history_of_a_forward_pass_is_kept(tmp_path: Path) -> None:
    """Autograd's graph would hold every activation until the next step."""

    def with_history() -> list[torch.Size]:
        gc.collect()
        return [
            thing.shape
            for thing in gc.get_objects()
            if type(thing) is torch.Tensor and thing.grad_fn is not None
        ]

    config = ModelConfig(connection="mhc", num_blocks=2, width=32, context=16, num_experts=4, qk_norm=True)
    model = Transformer(config, seed=0)
    optimizer = build_optimizer(model, TrainConfig(model=config, optimizer=OptimizerConfig(name="muon")))
    before = len(with_history())
    probe = attach(model, optimizer, mode="offline", directory=tmp_path, deep=True)
    loss = None
    for _ in range(2):
        probe.domains(["code", "prose"])
        loss = model.loss(torch.zeros(2, 17, dtype=torch.long))
        loss.backward()
        loss = loss.detach()
        assert len(with_history()) == before
        optimizer.step()
        probe.step(loss)
        assert len(with_history()) == before
    probe.finish()
    assert not probe.faults.counts
