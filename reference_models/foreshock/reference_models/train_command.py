"""What `foreshock train` does once its options are read."""

import math
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foreshock.probe import AttachError, Probe, attach
from foreshock.reference_models import plain_json
from foreshock.reference_models.corpus import Domain, load_domains
from foreshock.reference_models.errors import ConfigError, ModelsError
from foreshock.reference_models.train import StepReport, TrainConfig, TrainResult, train
from foreshock.reference_models.transformer import ModelConfig

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """The command line, as given. None means: not given."""

    connection: str
    num_blocks: int
    learning_rate: float
    seed: int
    num_steps: int
    warmup_steps: int
    batch_size: int
    width: int | None
    context: int | None
    num_streams: int | None
    precision: str
    recompute: bool
    clip: float
    loss_scale: float | None
    device: str | None
    data: tuple[str, ...]
    url: str | None
    mode: str | None
    project: str | None
    name: str | None
    group: str | None
    tags: tuple[str, ...]
    run_id: str | None
    directory: Path | None
    threads: int | None

    def train_config(self) -> TrainConfig:
        """The configuration that follows; raises ConfigError."""
        if self.clip < 0:
            raise ConfigError(f"clip is {self.clip}; give a threshold above 0, or 0 to switch clipping off")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads is {self.threads}; give 1 or more")
        model = ModelConfig.sized(
            self.connection,
            self.num_blocks,
            width=self.width,
            context=self.context,
            num_streams=self.num_streams,
            precision=self.precision,
            recompute=self.recompute,
        )
        return TrainConfig(
            model=model,
            num_steps=self.num_steps,
            learning_rate=self.learning_rate,
            warmup_steps=self.warmup_steps,
            batch_size=self.batch_size,
            clip=self.clip or None,
            loss_scale=self.loss_scale,
            seed=self.seed,
            device=self.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            data=self.data,
        )


class ProbeHolder:
    """Attaches the probe when the trainer asks for it, and remembers it for the last words."""

    def __init__(self, options: TrainOptions, config: TrainConfig) -> None:
        self.probe: Probe | None = None
        self._attach = partial(
            attach,
            project=options.project,
            name=options.name or f"{config.model.connection}, seed {config.seed}",
            group=options.group or config.model.connection,
            seed=config.seed,
            tags=options.tags,
            config=config.flat(),
            total_steps=config.num_steps,
            run_id=options.run_id,
            url=options.url,
            mode=options.mode,
            directory=options.directory,
            clip_threshold=config.clip,
        )

    def __call__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Probe:
        self.probe = self._attach(model, optimizer)
        return self.probe


def run_train(options: TrainOptions, *, as_json: bool) -> int:
    """Trains and reports; the exit status. What was given wrongly is told in one line."""
    try:
        config = options.train_config()
        if options.threads:
            torch.set_num_threads(options.threads)
        holder = ProbeHolder(options, config)
        domains = load_domains(config.data)
        if as_json:
            result = train(config, attach=holder, domains=domains)
        else:
            for domain in domains:
                print(f"text {domain.name}: {len(domain.bytes_k):,} bytes, {domain.origin}", file=sys.stderr)
            result = _train_with_bar(config, holder, domains)
    except (ModelsError, AttachError, OSError) as error:
        print(f"foreshock train: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("foreshock train: interrupted", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        print(plain_json.dump(summary(config, result, holder.probe)))
    else:
        print(sentence(result))
    return 0


def _train_with_bar(config: TrainConfig, holder: ProbeHolder, domains: tuple[Domain, ...]) -> TrainResult:
    columns = (
        TextColumn(f"{config.model.connection} seed {config.seed}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[seen]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=config.num_steps, seen="")
        gain = math.nan

        def show(report: StepReport) -> None:
            nonlocal gain
            gain = gain if report.gain is None else report.gain
            seen = f"loss {report.loss:.3f}  composite gain {gain:.3g}  {1 / report.seconds:.1f} steps/s"
            progress.update(task, completed=report.step + 1, seen=seen)

        return train(config, attach=holder, on_step=show, domains=domains)


def sentence(result: TrainResult) -> str:
    """How the run ended, in words."""
    seconds = f"{len(result.losses)} steps in {result.seconds:.0f} s"
    if result.death_step is None:
        return f"finished: {seconds}, last loss {result.final_loss:.4f}"
    return (
        f"diverged: the loss is {result.final_loss} since step {result.death_step}, so training stopped "
        f"({seconds}); the last finite loss was {result.last_finite_loss:.4f}"
    )


def summary(config: TrainConfig, result: TrainResult, probe: Probe | None) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "run_id": probe.run_id if probe else None,
        "page": probe.page if probe else None,
        "state": result.state,
        "steps": len(result.losses),
        "death_step": result.death_step,
        "final_loss": result.final_loss,
        "last_finite_loss": result.last_finite_loss,
        "seconds": round(result.seconds, 3),
        "config": config.flat(),
    }
