"""What `foreshock replay` does with its words: options read, the trace judged, transitions told."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from foreshock.exchange.errors import ExchangeError
from foreshock.exchange.options import read_entries, read_mapping
from foreshock.server.alerts.life import Transition
from foreshock.server.detection.rule import AnyRule
from foreshock.server.detection.user_rules import load_rules
from foreshock.server.errors import ServerError
from foreshock.server.replay.judging import replay_trace
from foreshock.server.replay.timeline import as_dict, print_timeline
from foreshock.server.replay.traces import Trace, open_trace


def replay_command(
    path: Path,
    rules_file: Path | None,
    total_steps: int | None,
    config: Sequence[str],
    renamed: Sequence[str],
    kind: str | None,
    *,
    as_json: bool,
) -> int:
    """The exit status: 0, or 2 where an option or the trace cannot be read; what was found before is told."""
    try:
        entries = read_entries(config)
        trace = open_trace(path, read_mapping(renamed), kind)
        rules = _rules(rules_file)
        told: list[Transition] = []
        declared = trace.context
        context = replace(
            declared,
            total_steps=total_steps or declared.total_steps,
            config={**declared.config, **entries},
        )
        try:
            with _shown(trace) as tell:
                for one in replay_trace(trace, context, rules):
                    told.append(one)
                    if as_json:
                        print(json.dumps(as_dict(one)), flush=True)
                    tell()
        finally:
            if not as_json and trace.num_steps:
                print_timeline(trace, told)
        for warning in trace.warnings:
            print(f"foreshock replay: {path}: {warning}", file=sys.stderr)
    except (ExchangeError, ServerError) as error:
        print(f"foreshock replay: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read has left; the interpreter must not try to flush to them
        sys.stdout = None
    except OSError as error:
        sys.stdout = None
        print(f"foreshock replay: what was found cannot be written: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _rules(path: Path | None) -> Sequence[AnyRule] | None:
    if path is None:
        return None
    return load_rules(path).rules


@contextmanager
def _shown(trace: Trace) -> Iterator[Callable[[], None]]:
    """How far it has come, on stderr, where that is a terminal of its own."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"judging {trace.path.name}", total=None)
        yield lambda: bar.update(task, description=f"judging {trace.path.name}: {trace.num_steps} steps")
