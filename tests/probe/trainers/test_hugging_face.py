"""The probe in HF's Trainer: its losses, its steps, its end."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from foreshock.probe import StopTraining

pytest.importorskip("accelerate")
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from foreshock.probe.trainers.hugging_face import ForeshockCallback
from foreshock.wire import Alert

ALERT = Alert(
    number=1, alert_id=0, run_id="r", attempt=0, rule="exit_amax", claim="rule", severity="warning",
    state="firing", subject="layer 0", step=1, value=12.5, reason="because", advice="stop", time=0.0,
)  # fmt: skip


def trainer(tmp_path: Path, callback: ForeshockCallback, **options: Any) -> Trainer:
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=50,
            bos_token_id=1, eos_token_id=2,
        )
    )  # fmt: skip
    rows = torch.randint(3, 50, (64, 12), generator=torch.Generator().manual_seed(1))
    # Rows of different lengths: an average of averages is not the step's loss
    rows[::2, 6:] = -100
    data = [{"input_ids": row.clamp_min(0), "labels": row} for row in rows]
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"), max_steps=4, per_device_train_batch_size=4, logging_steps=1,
        report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, seed=7,
        dataloader_pin_memory=False, **options,
    )  # fmt: skip
    return Trainer(model, arguments, train_dataset=data, callbacks=[callback])


@pytest.mark.parametrize("parts", [1, 2])
def test_losses_and_steps_are_the_trainer_s(
    parts: int, tmp_path: Path, read_spool: Callable[..., Any]
) -> None:
    callback = ForeshockCallback(mode="offline", directory=tmp_path)
    training = trainer(tmp_path, callback, gradient_accumulation_steps=parts)
    training.train()
    assert callback.probe is not None and not callback.probe.faults.counts
    spooled = read_spool(callback.probe)
    logged = [entry["loss"] for entry in training.state.log_history if "loss" in entry]
    assert list(spooled.series["loss"]) == [0, 1, 2, 3]
    assert list(spooled.series["loss"].values()) == pytest.approx(logged, abs=2e-4)
    assert spooled.series["trainer/grad_norm"].keys() <= {1, 2, 3, 4}
    assert all(math.isfinite(value) for value in spooled.series["grad_norm"].values())
    assert [event.kind for event in spooled.events] == ["finished"]
    assert not any(module._forward_hooks for module in training.model.modules())


def test_stop_training_stops_it_and_keeps_the_record(tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    callback = ForeshockCallback(mode="offline", directory=tmp_path, on_alert=stop)
    training = trainer(tmp_path, callback)
    end = callback.on_step_end

    def alerted(*args: Any, **kwargs: Any) -> None:
        assert callback.probe is not None
        if args[1].global_step == 2:
            callback.probe._alerts.append(ALERT)
        end(*args, **kwargs)

    callback.on_step_end = alerted  # type: ignore[method-assign]
    training.train()
    assert callback.probe is not None
    assert training.state.global_step == 2
    assert list(read_spool(callback.probe).series["loss"]) == [0, 1]


def stop(alert: Any) -> None:
    raise StopTraining
