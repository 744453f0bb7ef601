"""What `foreshock stress` does once its options are read."""

import os
import re
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from foreshock.reference_models import plain_json
from foreshock.reference_models.collector_process import CollectorProcess
from foreshock.reference_models.demo import default_directory
from foreshock.reference_models.errors import DemoError, ModelsError, StressError
from foreshock.reference_models.observatory import Observatory
from foreshock.reference_models.stress.knobs import UNCONSTRAINED, Factors, Setting, settings
from foreshock.reference_models.stress.outcome import judge
from foreshock.reference_models.stress.own_model import OwnModel
from foreshock.reference_models.stress.report import Report, make_report
from foreshock.reference_models.stress.script import BaseValues, Script
from foreshock.reference_models.stress.session import Attempt, Session
from foreshock.reference_models.stress.stack import PlannedRun, Stack
from foreshock.reference_models.stress.views import ProgressView, Silence, report_view
from foreshock.reference_models.termination import terminate_as_interrupt

FAILED: Final = 1
REFUSED: Final = 2
INTERRUPTED: Final = 130
MAX_SEEDS: Final = 16
MAX_STEPS: Final = 200
PROJECT: Final = "stress"
_JUDGED_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class StressOptions:
    """The command line, as given. `config` or `command`, one of the two."""

    config: Path | None
    command: str | None
    values: BaseValues
    factors: Factors
    only: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    unconstrained: bool = False
    seeds: int | None = None
    max_steps: int | None = None
    minutes: float = 90.0
    jobs: int = 1
    out: Path | None = None

    def stack(self) -> Stack:
        """What is to be trained; raises StressError or ScenarioError."""
        if (self.config is None) == (self.command is None):
            raise StressError(
                "give a CONFIG file or --command 'python train.py --lr {lr} ...', one of the two"
            )
        if self.command is not None:
            self._refuse_with_command()
            return Script(self.command, self.values)
        assert self.config is not None
        for name in ("lr", "depth", "steps", "batch"):
            if getattr(self.values, name) is not None:
                raise StressError(f"--{name} is the base value of a --command; a CONFIG file has its own")
        if self.max_steps is not None and self.max_steps < 1:
            raise StressError(f"max_steps is {self.max_steps}; give 1 or more")
        most = self.max_steps or MAX_STEPS
        return OwnModel.load(self.config, most, self.changes, has_twin=self.unconstrained)

    def chosen_seeds(self, stack: Stack) -> tuple[int, ...]:
        """The seeds: as many as asked for from 0 on, else those of the file, else three."""
        if self.seeds is None:
            return stack.seeds if isinstance(stack, OwnModel) and len(stack.seeds) > 1 else (0, 1, 2)
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise StressError(f"seeds is {self.seeds}; give 1 to {MAX_SEEDS}")
        return tuple(range(self.seeds))

    def check(self) -> None:
        """Raises StressError for numbers that cannot be."""
        if not 0 < self.minutes <= 7 * 24 * 60:
            raise StressError(f"minutes is {self.minutes}; give a number above 0, at most a week")
        if self.jobs < 1:
            raise StressError(f"jobs is {self.jobs}; give 1 or more")

    def _refuse_with_command(self) -> None:
        for option, given in (
            ("--change", self.changes),
            ("--max-steps", self.max_steps),
            ("--unconstrained", self.unconstrained),
        ):
            if given:
                raise StressError(f"{option} is of a CONFIG file; with --command give --steps and the like")


def run_stress(options: StressOptions, *, as_json: bool) -> int:
    """Runs the stress test; 0 passed, 1 failed, 2 refused, 130 interrupted."""
    console = Console(stderr=as_json)
    try:
        options.check()
        stack = options.stack()
        planned = plan_runs(stack, options)
        folder = _folder(options)
        with terminate_as_interrupt():
            report = _stress(stack, planned, options, folder, console, as_json=as_json)
        kept = report.keep(folder)
    except (ModelsError, OSError) as error:
        print(f"foreshock stress: {error}", file=sys.stderr)
        # A collector that fails is no fault of what was given
        return FAILED if isinstance(error, DemoError) else REFUSED
    except KeyboardInterrupt:
        print("foreshock stress: interrupted; all its processes are ended", file=sys.stderr)
        return INTERRUPTED
    if as_json:
        print(plain_json.dump(report.as_dict()), flush=True)
    else:
        console.print(report_view(report))
        console.print(f"kept in {kept}", style="dim", soft_wrap=True)
    return 0 if report.has_passed else FAILED


def plan_runs(stack: Stack, options: StressOptions) -> list[PlannedRun]:
    """All runs, seed by seed, so that every variant is trained once before any is trained again."""
    wanted: Sequence[Setting] = (
        *settings(stack.base, options.factors, options.only),
        *stack.extra_settings(),
    )
    seeds = options.chosen_seeds(stack)
    for setting in wanted:
        stack.command(setting, seeds[0])
    mark = secrets.token_hex(3)
    return [
        PlannedRun(setting, seed, re.sub(r"[^a-z0-9]+", "-", f"stress-{mark}-{setting.variant}-s{seed}"))
        for seed in seeds
        for setting in wanted
    ]


def _folder(options: StressOptions) -> Path:
    folder = (options.out or default_directory(time.strftime("stress-%Y%m%d-%H%M%S"))).expanduser().resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise StressError(f"{folder} cannot be written to; give another --out")
    return folder


def _stress(
    stack: Stack,
    planned: Sequence[PlannedRun],
    options: StressOptions,
    folder: Path,
    console: Console,
    *,
    as_json: bool,
) -> Report:
    began = time.monotonic()
    # A tenth of the time, at most so many seconds, is for the collector to judge what came last
    reserve = min(_JUDGED_SECONDS, 6 * options.minutes)
    deadline = began + 60 * options.minutes - reserve
    with CollectorProcess(folder, 0) as collector, Observatory(collector.url, PROJECT) as observatory:
        if not as_json:
            console.print(f"watch it live: [bold]{collector.url}/?project={PROJECT}[/bold]")
        session = Session(stack, collector.url, PROJECT, folder, deadline=deadline, jobs=options.jobs)
        view = nullcontext(Silence()) if as_json else ProgressView(console, observatory, len(planned))
        with view as watcher:
            attempts = session.run(planned, watcher)
        _wait_until_judged(attempts, observatory, reserve)
        outcomes = [judge(attempt, observatory, stack.fault_step) for attempt in attempts]
        verdict = None
        if options.unconstrained:
            verdict = observatory.verdict("group", constrained="base", baseline=UNCONSTRAINED)
    return make_report(
        stack.describe(),
        options.factors,
        outcomes,
        verdict,
        minutes=options.minutes,
        seconds=time.monotonic() - began,
        directory=folder,
    )


def _wait_until_judged(attempts: Sequence[Attempt], observatory: Observatory, seconds: float) -> None:
    """Returns once the judge has reached the end of what every run has sent, or when the time is up."""
    give_up = time.monotonic() + seconds
    waiting = [attempt.planned.run_id for attempt in attempts if attempt.fate != "not run"]
    while waiting and time.monotonic() < give_up:
        waiting = [run_id for run_id in waiting if not _is_judged(observatory, run_id)]
        if waiting:
            time.sleep(_POLL_SECONDS)


def _is_judged(observatory: Observatory, run_id: str) -> bool:
    """Whether nothing more is to be said of a run whose process is over."""
    row = observatory.run(run_id)
    return row is None or row["last_step"] <= int(row["summary"].get("step", -1))
