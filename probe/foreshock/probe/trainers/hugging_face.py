"""The probe in HF transformers' Trainer:

Trainer(model, args, callbacks=[ForeshockCallback(project="pretrain")], ...)
"""

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from foreshock.probe import Probe, StopTraining, attach
from foreshock.probe.observers.staying import StayingHook
from foreshock.probe.trainers.measures import PartialLoss, own_names
from foreshock.probe.unwrap import unwrapped_model


class ForeshockCallback(TrainerCallback):
    """Attaches when training begins, closes every optimizer step, and ends with the training.

    Takes what `attach` takes; total steps, seed and configuration come from the Trainer. The loss is what
    the model returns, over all parts of an accumulated step. What the Trainer logs (evaluation, its own
    smoothed loss) is recorded beside it. StopTraining, raised by an `on_alert` of yours, stops the Trainer
    as its own early stopping does.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._loss = PartialLoss()
        self._handle: RemovableHandle | None = None
        self.probe: Probe | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Attaches."""
        model = unwrapped_model(kwargs["model"])
        told: dict[str, Any] = {
            "total_steps": state.max_steps,
            "seed": args.seed,
            "config": args.to_sanitized_dict(),
        }
        self.probe = attach(model, kwargs.get("optimizer"), **(told | self._options))
        self._handle = model.register_forward_hook(StayingHook(self._see_loss), with_kwargs=True)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Closes the step."""
        if self.probe is None:
            return
        try:
            self.probe.step(self._loss.take(), step=state.global_step - 1)
        except StopTraining:
            control.should_training_stop = True

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Records what the Trainer says."""
        if self.probe is not None:
            self.probe.log(own_names(kwargs.get("logs") or {}))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Delivers the rest and detaches."""
        if self._handle is not None:
            self._handle.remove()
        if self.probe is not None:
            self.probe.finish()

    def _see_loss(self, model: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        if not model.training or torch.compiler.is_compiling():
            return
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if isinstance(loss, torch.Tensor):
            # The Trainer divides by the items of the whole step only where it tells the model their number
            self._loss.add(loss, takes_sum=kwargs.get("num_items_in_batch") is not None)
