"""What `foreshock train` does once its options are read."""

import math
import re
import shlex
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foreshock.probe import Alert, AttachError, Probe, attach
from foreshock.probe.settings import ProbeSettings
from foreshock.reference_models import plain_json
from foreshock.reference_models.corpus import load_domains
from foreshock.reference_models.errors import ModelsError
from foreshock.reference_models.parallel import World, world_of_environment
from foreshock.reference_models.train import StepReport, TrainConfig, TrainResult, train
from foreshock.reference_models.train_options import OPTION_OF_FIELD, TrainOptions

INTERRUPTED: Final = 130


class ProbeHolder:
    """Attaches the probe when the trainer asks for it, and remembers it for the last words."""

    def __init__(
        self, options: TrainOptions, config: TrainConfig, settings: ProbeSettings, *, resume: bool
    ) -> None:
        self.probe: Probe | None = None
        self.alerts: deque[Alert] = deque()
        self._attach = partial(
            attach,
            project=options.project,
            name=options.run_name(config),
            group=options.group or config.model.connection,
            seed=config.seed,
            tags=options.tags,
            config=config.flat(),
            total_steps=config.num_steps,
            run_id=settings.run_id,
            resume=resume,
            url=options.url,
            mode=options.mode,
            directory=options.directory,
            on_alert=self.alerts.append,
            # The laboratory records everything, whatever it costs
            budget=None,
            layers="all",
        )

    def __call__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Probe:
        self.probe = self._attach(model, optimizer)
        return self.probe


def run_train(options: TrainOptions, *, as_json: bool) -> int:
    """Trains and reports; the exit status. What was given wrongly is told in one line."""
    try:
        config = options.train_config()
        with world_of_environment(config.device) as world:
            return _train(options, config, world, as_json=as_json)
    except (ModelsError, AttachError, OSError) as error:
        print(f"foreshock train: {in_options(str(error), options)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("foreshock train: interrupted", file=sys.stderr)
        return INTERRUPTED


def _train(options: TrainOptions, config: TrainConfig, world: World, *, as_json: bool) -> int:
    state = options.keeping.resumed_state()
    settings = options.probe_settings(config, state.get("run_id") if state else None)
    goes_back_by = config.anticipatory.rollback_steps if config.anticipatory.rolls_back else None
    keeping = options.keeping.keeping(settings.run_id, rollback_steps=goes_back_by)
    if options.threads:
        torch.set_num_threads(options.threads)
    holder = ProbeHolder(options, config, settings, resume=state is not None)
    domains = load_domains(config.data)
    training = partial(
        train,
        config,
        attach=holder,
        domains=domains,
        keeping=keeping,
        resume_from=state,
        world=world,
        alerts=holder.alerts,
    )
    if not world.is_first:
        training()
        return 0
    if as_json:
        report = summary(config, training(), holder.probe, settings)
        print(plain_json.dump(report | {"resumed_step": state["step"] if state else None}))
        return 0
    for domain in domains:
        print(f"text {domain.name}: {len(domain.bytes_k):,} bytes, {domain.origin}", file=sys.stderr)
    result = _with_bar(config, training)
    for event in result.routing_events:
        print(event)
    print(sentence(result))
    if settings.mode == "offline" and holder.probe:
        print(f"recorded in {holder.probe.spool_directory}; {delivery(options, holder.probe.run_id)}")
    return 0


def in_options(message: str, options: TrainOptions) -> str:
    """The message in the words that were typed: the library names its fields, the command its options."""
    match = re.match(r"(?:the )?(\w+)(?= is | has )", message)
    # What was not typed came from the environment, which has names of its own
    if match and match[1] in OPTION_OF_FIELD and getattr(options, match[1], "") is not None:
        message = OPTION_OF_FIELD[match[1]] + message[match.end() :]
    return message.replace("directory=", "--directory").replace(
        "attach with mode='disabled'", "--mode disabled"
    )


def delivery(options: TrainOptions, run_id: str) -> str:
    """How a run that was recorded offline reaches a collector."""
    where = f" --directory {shlex.quote(str(options.directory))}" if options.directory else ""
    return f"deliver it with: foreshock sync {run_id}{where}"


def _with_bar(config: TrainConfig, training: Callable[..., TrainResult]) -> TrainResult:
    columns = (
        TextColumn(f"{config.model.connection} seed {config.seed}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[seen]}"),
        TimeRemainingColumn(),
    )
    progress = Progress(*columns, console=Console(stderr=True))
    task = progress.add_task("", total=config.num_steps, seen="")
    gain = math.nan

    def show(report: StepReport) -> None:
        nonlocal gain
        # Not before the first step: what is refused until then is told without a bar above it
        progress.start()
        gain = gain if report.gain is None else report.gain
        seen = f"loss {report.loss:.3f}  composite gain {gain:.3g}  {1 / report.seconds:.1f} steps/s"
        progress.update(task, completed=report.step + 1, seen=seen)

    try:
        return training(on_step=show)
    finally:
        progress.stop()


def sentence(result: TrainResult) -> str:
    """How the run ended, in words."""
    seconds = f"{len(result.losses)} steps in {result.seconds:.0f} s"
    if result.death_step is None:
        return f"finished: {seconds}, last loss {result.final_loss:.4f}"
    return (
        f"diverged: the loss is {result.final_loss} since step {result.death_step}, so training stopped "
        f"({seconds}); the last finite loss was {result.last_finite_loss:.4f}"
    )


def summary(
    config: TrainConfig, result: TrainResult, probe: Probe | None, settings: ProbeSettings
) -> dict[str, Any]:
    """What `--json` prints. A run has a page once a collector has heard of it, so offline it has none."""
    return {
        "run_id": probe.run_id if probe else None,
        "page": probe.page if probe and settings.mode == "online" else None,
        "state": result.state,
        "steps": len(result.losses),
        "death_step": result.death_step,
        "final_loss": result.final_loss,
        "last_finite_loss": result.last_finite_loss,
        "seconds": round(result.seconds, 3),
        "routing_events": [asdict(event) for event in result.routing_events],
        "config": config.flat(),
    }
