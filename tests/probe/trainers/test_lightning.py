"""The probe in Lightning: its losses, its steps, what modules log, its end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pl = pytest.importorskip("lightning.pytorch")

from foreshock.probe.trainers.lightning import ForeshockCallback, ForeshockLogger  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's own, of loaders and of what it will rename


class Module(pl.LightningModule):  # type: ignore[misc,name-defined]
    """A small regression that keeps its losses."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.losses: list[float] = []
        self.fails_at = -1

    def training_step(self, batch: Tensor, number: int) -> Tensor:
        if number == self.fails_at:
            raise RuntimeError("broken batch")
        loss = self.net(batch).square().mean()
        self.losses.append(float(loss))
        self.log("rows/mean", batch.mean())
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def fit(tmp_path: Path, module: Module, callback: ForeshockCallback, **options: Any) -> Any:
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, log_every_n_steps=1, default_root_dir=tmp_path, callbacks=[callback],
        logger=ForeshockLogger(callback), gradient_clip_val=1.0, **options,
    )  # fmt: skip
    rows = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=4))
    return trainer


@pytest.mark.parametrize("parts", [1, 3])
def test_losses_and_steps_are_lightning_s(parts: int, tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    module, callback = Module(), ForeshockCallback(mode="offline", directory=tmp_path)
    fit(tmp_path, module, callback, accumulate_grad_batches=parts)
    assert callback.probe is not None and not callback.probe.faults.counts
    spooled = read_spool(callback.probe)
    means = [sum(module.losses[at : at + parts]) / parts for at in range(0, 6, parts)]
    assert list(spooled.series["loss"].values()) == pytest.approx(means, rel=1e-5)
    assert len(spooled.series["grad_norm"]) == len(means) and len(spooled.series["update_rms"]) == 1
    assert spooled.series["rows/mean"] and spooled.series["trainer/loss"]
    assert [event.kind for event in spooled.events] == ["finished"]
    assert not any(part._forward_hooks for part in module.modules())


def test_a_failure_is_recorded_as_a_crash(tmp_path: Path, read_spool: Callable[..., Any]) -> None:
    module, callback = Module(), ForeshockCallback(mode="offline", directory=tmp_path)
    module.fails_at = 2
    with pytest.raises(RuntimeError, match="broken batch"):
        fit(tmp_path, module, callback)
    assert callback.probe is not None
    spooled = read_spool(callback.probe)
    assert list(spooled.series["loss"]) == [0, 1]
    assert [event.kind for event in spooled.events] == ["crashed"]
