"""`attach`: one line that puts a probe beside a model."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import nn

from foreshock.probe.actions import Actions
from foreshock.probe.adapters import find_mixing
from foreshock.probe.capture import capture_config
from foreshock.probe.clock import COMPOSITE_EVERY
from foreshock.probe.declare import MAX_STEPS, check_integer, check_run_id, check_tags, check_text
from foreshock.probe.delivery import Delivery
from foreshock.probe.derive import StepVector
from foreshock.probe.errors import AttachError, SpoolError
from foreshock.probe.faults import Faults
from foreshock.probe.instruments import Instruments
from foreshock.probe.observers import Observer
from foreshock.probe.probe import DisabledProbe, Probe
from foreshock.probe.settings import ProbeSettings, resolve_settings
from foreshock.probe.unwrap import unwrapped_model, unwrapped_optimizer
from foreshock.wire import Alert, RunDeclaration
from foreshock.wire.messages import Constraint

_SHORT_RUN_STEPS = 2000
_MAX_NOTES = 2000

Layers: TypeAlias = Literal["worst", "all"]


def attach(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    project: str | None = None,
    name: str | None = None,
    group: str | None = None,
    seed: int | None = None,
    tags: Sequence[str] = (),
    notes: str | None = None,
    config: Mapping[str, Any] | None = None,
    total_steps: int | None = None,
    constraint: Constraint | None = None,
    run_id: str | None = None,
    resume: bool = False,
    fork_from: tuple[str, int] | None = None,
    url: str | None = None,
    token: str | None = None,
    mode: str | None = None,
    directory: str | Path | None = None,
    clip_threshold: float | None = None,
    composite_every: int | None = None,
    mixing: Mapping[str, str] | None = None,
    observers: Sequence[Observer] = (),
    budget: float | None = 1.0,
    layers: Layers = "worst",
    deep: bool = False,
    strict: bool = False,
    on_alert: Callable[[Alert], None] | None = None,
) -> Probe:
    """Puts a probe beside `model`; then call `probe.step(loss=loss)` once a step.

    `total_steps` sets the patience of the exit rules (5 % of the run, else 200 steps) and the
    cadence of composites (every step in a run of at most 2,000 steps, else every 10);
    `constraint="doubly_stochastic"` has the collector check that the mixing matrices keep it, which
    it otherwise does where the configuration says `connection: mhc`. `resume=True` continues
    `run_id` under the next attempt number; `fork_from=(run_id, step)` says whose state a new run goes on
    from. `notes` are words for those who look at the run later.
    `mixing` names the mixing matrices of a model that nobody knows, `{"blocks.*.hc": ".h_res"}` say (see
    adapters/named.py); `observers` are of your own.
    `budget` is the share of a step, in percent, that the probe may take of the training thread; readings
    are taken more seldom where it takes more (see budget.py), None keeps the cadences as they are.
    `layers="all"` tells every layer of a deep model at every reading (see layers.py).
    `deep` records every signal at every step; a critical alert does so for 100 steps. `strict` raises what
    would only be told, for tests.
    `on_alert` is called in the training loop.

    Raises AttachError for arguments that cannot work. Afterwards nothing in the probe raises.
    """
    model, optimizer = unwrapped_model(model), unwrapped_optimizer(optimizer)
    settings = resolve_settings(
        run_id=run_id, project=project, name=name, url=url, token=token, mode=mode, directory=directory
    )
    if settings.mode == "disabled":
        return DisabledProbe(settings.run_id)
    rank = _rank()
    _check(settings, rank, constraint, resume, run_id)
    total_steps = check_integer("total_steps", total_steps, 1, MAX_STEPS)
    composite_every = check_integer("composite_every", composite_every, 1, MAX_STEPS)
    declaration = RunDeclaration(
        run_id=settings.run_id,
        project=settings.project,
        name=settings.name,
        group=None if group is None else check_text("group", group),
        tags=check_tags(tags),
        seed=check_integer("seed", seed, -(2**63), 2**63 - 1),
        config=_config(model, optimizer, config, clip_threshold, len(find_mixing(model, mixing)))
        | _origin(fork_from, notes),
        constraint=constraint,
        total_steps=total_steps,
        rank=rank,
        attempt=_next_attempt(settings, rank),
        started_at=time.time(),
    )
    faults = Faults(strict=strict)
    instruments = Instruments(
        model,
        optimizer,
        mixing=mixing,
        observers=observers,
        composite_every=composite_every or _composite_cadence(total_steps),
        clip_threshold=clip_threshold,
        num_sampled_tokens=settings.num_sampled_tokens,
        budget=_budget(budget),
        all_layers=_all_layers(layers),
        deep=deep,
        faults=faults,
    )
    probe = _open(settings, declaration, instruments, faults, on_alert)
    _tell(probe, settings, instruments, total_steps, optimizer)
    return probe


def _open(
    settings: ProbeSettings,
    declaration: RunDeclaration,
    instruments: Instruments,
    faults: Faults,
    on_alert: Callable[[Alert], None] | None,
) -> Probe:
    """Opens the spool behind the instruments; raises AttachError, and unhooks, where it cannot be written."""
    try:
        delivery = Delivery(settings, declaration, instruments.plan, StepVector(instruments.plan), faults)
    except (OSError, SpoolError) as error:
        instruments.close()
        raise AttachError(
            f"the spool under {settings.directory} cannot be written ({error}): give directory= or "
            "FORESHOCK_DIR a folder that can, or attach with mode='disabled'"
        ) from error
    probe = Probe(instruments, delivery, faults, on_alert)
    if isinstance(on_alert, Actions):
        on_alert.notes_by(probe.note)
    return probe


def _origin(fork_from: tuple[str, int] | None, notes: str | None) -> dict[str, Any]:
    """Where the run comes from and what is said of it, as its configuration tells them."""
    told: dict[str, Any] = {}
    if notes is not None:
        told["notes"] = check_text("notes", " ".join(str(notes).split()), _MAX_NOTES)
    if fork_from is not None:
        match fork_from:
            case (str(parent), int(step)):
                told["forked_from"] = check_run_id(parent)
                told["forked_at_step"] = check_integer("the step of fork_from", step, 0, MAX_STEPS)
            case _:
                raise AttachError(f"fork_from is {str(fork_from)[:80]}; give (run_id, step)")
    return told


def _config(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    given: Mapping[str, Any] | None,
    clip_threshold: float | None,
    num_mixing_layers: int,
) -> dict[str, Any]:
    told = {} if clip_threshold is None else {"clip_threshold": clip_threshold}
    return told | capture_config(model, optimizer, num_mixing_layers, given)


def _check(
    settings: ProbeSettings,
    rank: int,
    constraint: Constraint | None,
    resume: bool,
    run_id: str | None,
) -> None:
    if constraint is not None and constraint not in get_args(Constraint):
        raise AttachError(f"constraint is {constraint!r}; allowed are {', '.join(get_args(Constraint))}")
    if resume and run_id is None and "FORESHOCK_RUN_ID" not in os.environ:
        raise AttachError("resume=True needs the run_id of the run to continue")
    if not resume and (settings.run_directory / f"rank-{rank}.json").exists():
        raise AttachError(
            f"run {settings.run_id} exists already in {settings.directory}: attach with resume=True to "
            "continue it under the next attempt, or leave run_id out to begin a new run"
        )


def _all_layers(layers: str) -> bool:
    if layers not in get_args(Layers):
        raise AttachError(f"layers is {layers!r}; allowed are {', '.join(get_args(Layers))}")
    return layers == "all"


def _budget(percent: float | None) -> float | None:
    if percent is None:
        return None
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 < percent <= 100:
        raise AttachError(
            f"budget is {percent!r}: give percent of a step, above 0 and at most 100, or None for none"
        )
    return float(percent)


def _composite_cadence(total_steps: int | None) -> int:
    if total_steps is not None and total_steps <= _SHORT_RUN_STEPS:
        return 1
    return COMPOSITE_EVERY


def _next_attempt(settings: ProbeSettings, rank: int) -> int:
    """One more than any attempt that this machine's spool knows; the collector may say otherwise."""
    folders = (settings.run_directory / f"rank-{rank}").glob("attempt-*")
    return max((int(folder.name.removeprefix("attempt-")) + 1 for folder in folders), default=0)


def _rank() -> int:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    rank = os.environ.get("RANK", "0")
    if not rank.isdecimal():
        raise AttachError(f"RANK is {rank[:40]!r} in the environment; it must be a whole number")
    return int(rank)


def _tell(
    probe: Probe,
    settings: ProbeSettings,
    instruments: Instruments,
    total_steps: int | None,
    optimizer: torch.optim.Optimizer | None,
) -> None:
    where = probe.page if settings.mode == "online" else f"offline, in {settings.run_directory}"
    print(f"foreshock: run {settings.run_id} -> {where}", file=sys.stderr)
    for absent, consequence in (
        (
            not instruments.findings.mixing,
            "no mixing matrices found: their gains are not seen",
        ),
        (optimizer is None, "no optimizer given: learning rate and skipped steps are not seen"),
        (
            total_steps is None,
            "total_steps not given: exit rules wait 200 steps instead of 5 % of the run, and composites "
            f"are taken every {COMPOSITE_EVERY} steps",
        ),
    ):
        if absent:
            print(f"foreshock: {consequence}", file=sys.stderr)
