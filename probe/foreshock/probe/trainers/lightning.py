"""The probe in Lightning:

callback = ForeshockCallback(project="pretrain")
Trainer(callbacks=[callback], logger=ForeshockLogger(callback))
"""

from argparse import Namespace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor

from foreshock.probe import Probe, StopTraining, attach
from foreshock.probe.trainers.measures import PartialLoss, own_names
from foreshock.probe.unwrap import unwrapped_model


class ForeshockCallback(Callback):
    """Attaches when training begins, closes every optimizer step, and ends with the training.

    Takes what `attach` takes; total steps come from the Trainer, the configuration from the module's
    hyperparameters. The first optimizer is watched. StopTraining, raised by an `on_alert` of yours, lets
    the Trainer stop.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._loss = PartialLoss()
        self._global_step = 0
        self.probe: Probe | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attaches."""
        steps = trainer.estimated_stepping_batches
        is_known = isinstance(steps, int) and steps > 0
        told: dict[str, Any] = {"total_steps": steps if is_known else None, "config": dict(pl_module.hparams)}
        optimizer = trainer.optimizers[0] if trainer.optimizers else None
        self._global_step = trainer.global_step
        self.probe = attach(unwrapped_model(pl_module), optimizer, **(told | self._options))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Closes the step, if the optimizer has stepped."""
        if self.probe is None:
            return
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            # Lightning hands it over divided by the number of parts
            self._loss.add(loss, takes_sum=True)
        if trainer.global_step == self._global_step:
            return
        self._global_step = trainer.global_step
        try:
            self.probe.step(self._loss.take(), step=trainer.global_step - 1)
        except StopTraining:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Delivers the rest and detaches."""
        if self.probe is not None:
            self.probe.finish()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Says that the run has crashed, and detaches."""
        if self.probe is not None:
            self.probe.finish("crashed")


class ForeshockLogger(Logger):
    """Sends what modules log by `self.log` to the probe of a callback, beside the probe's own signals."""

    def __init__(self, callback: ForeshockCallback) -> None:
        super().__init__()
        self._callback = callback

    @property
    def name(self) -> str:
        """What Lightning calls its folders by."""
        return "foreshock"

    @property
    def version(self) -> str:
        """The run's identity; empty before training begins."""
        return self._callback.probe.run_id if self._callback.probe is not None else ""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Records numbers for the step under way."""
        if self._callback.probe is not None:
            self._callback.probe.log(own_names(metrics))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """They are in the run's configuration already."""
