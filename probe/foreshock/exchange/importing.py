"""One import: a source read whole and set aside, then delivered under an identity made of its content."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.delivery import Delivery, Ending, Receipt
from foreshock.exchange.errors import SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Facts, Source
from foreshock.exchange.staging import Staging
from foreshock.exchange.streams import Sorter
from foreshock.query.connection import Connection
from foreshock.wire import RunDeclaration

# Before this a clock was never set, and says nothing of when a run began (2001)
_EARLIEST_CLOCK: Final = 1e9
_MAX_CONFIG_BYTES: Final = 128 * 1024
_MAX_NAME: Final = 200
_MAX_TAG: Final = 100
_MAX_TAGS: Final = 50
_ROWS_PER_TICK: Final = 1024


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user says of the run; it beats what the source says."""

    run_id: str | None = None
    project: str | None = None
    name: str | None = None
    group: str | None = None
    seed: int | None = None
    tags: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """Who is told how far an import is: rows read, and bytes sent of all that were set aside."""

    on_read: Callable[[int], None] = lambda num_rows: None
    on_sent: Callable[[int, int], None] = lambda num_bytes, total: None


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one run of a file. Records are the log's; `records_known` were there already."""

    path: str
    kind: str
    name: str
    run_id: str
    page: str
    rows: int
    values: int
    series: int
    ranks: int
    attempts: int
    records_sent: int
    records_known: int
    notes: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """One line for people."""
        what = f"{self.rows} rows, {self.series} series, {self.values} values"
        of = f"{self.path} ({self.kind}): {self.name}"
        if not self.records_sent:
            return f"{of}: {what}: already there as {self.run_id}, {self.page}"
        again = f" (went on after {self.records_known} records)" if self.records_known else ""
        return f"{of}: {what} -> {self.run_id}, {self.page}{again}"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def import_source(
    connection: Connection, path: Path, source: Source, naming: Naming, wishes: Wishes, progress: Progress
) -> Imported:
    """Imports one run. Nothing is sent before all of it has been read and found right.

    Raises SourceError, OptionError or TakenError, and what the connection raises.
    """
    with Staging() as staging:
        sorter = Sorter(staging, source.kind)
        for number, row in enumerate(source.rows(), 1):
            sorter.add(row)
            if number % _ROWS_PER_TICK == 0:
                progress.on_read(number)
        digest = sorter.finish()
        naming.check_used()
        if not sorter.attempts:
            raise SourceError(path, "holds no values: nothing is imported")
        declaration = _declaration(source, sorter, wishes, digest)
        delivery = Delivery(
            connection, declaration, staging, lambda n: progress.on_sent(n, staging.num_bytes)
        )
        receipt = delivery.deliver(sorter.attempts, _ending(source.facts, source.kind, path))
    return _imported(path, source, naming, sorter, declaration, receipt)


def _declaration(source: Source, sorter: Sorter, wishes: Wishes, digest: str) -> RunDeclaration:
    facts = source.facts
    config = _fitting(facts.config) | wishes.config
    tags = wishes.tags or facts.tags
    began = sorter.first_time
    return RunDeclaration(
        run_id=wishes.run_id or f"{source.kind}-{digest[:16]}",
        project=wishes.project or _text(facts.project) or "default",
        name=wishes.name or _text(facts.name) or source.kind,
        group=wishes.group or _text(facts.group),
        tags=[text for tag in tags if (text := _text(tag, _MAX_TAG))][:_MAX_TAGS],
        seed=wishes.seed if wishes.seed is not None else _seed(facts.config),
        config=config,
        session=digest[:32],
        started_at=began if began >= _EARLIEST_CLOCK else 0.0,
    )


def _ending(facts: Facts, kind: str, path: Path) -> Ending:
    return Ending("crashed" if facts.has_crashed else "finished", {"imported_from": kind, "file": path.name})


def _imported(
    path: Path, source: Source, naming: Naming, sorter: Sorter, declaration: RunDeclaration, receipt: Receipt
) -> Imported:
    notes = naming.notes
    if source.facts.left_out:
        names = source.facts.left_out
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        notes.append(f"left out, no numbers: {', '.join(names[:8])}{more}")
    if sorter.num_joined:
        notes.append(f"{sorter.num_joined} values were given a second time at their step: the later counts")
    rollbacks = sum(attempt.number > 0 for attempt in sorter.attempts)
    if rollbacks:
        notes.append(f"the steps go back {rollbacks} times: each began a new attempt, pages show the newest")
    lost = sorter.precision.note(sorter.num_values)
    notes += [lost] if lost else []
    streams = [stream for attempt in sorter.attempts for stream in attempt.streams]
    return Imported(
        path=str(path),
        kind=source.kind,
        name=declaration.name,
        run_id=declaration.run_id,
        page=receipt.page,
        rows=sorter.num_rows,
        values=sorter.num_values,
        series=len({name for stream in streams for name in stream.columns}),
        ranks=len({attempt.rank for attempt in sorter.attempts}),
        attempts=1 + max(attempt.number for attempt in sorter.attempts),
        records_sent=receipt.num_sent,
        records_known=receipt.num_known,
        notes=tuple(notes),
    )


def _text(text: str | None, most: int = _MAX_NAME) -> str | None:
    """What a source calls its run, as a collector takes it; None for nothing."""
    shown = "".join(character if character.isprintable() else "?" for character in text or "").strip()
    return shown[:most] or None


def _fitting(config: dict[str, Any]) -> dict[str, Any]:
    """A source's configuration, without its largest entries where all together would be refused."""
    sizes = {key: len(json.dumps(value)) + len(key) for key, value in config.items()}
    for key in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if sum(sizes.values()) <= _MAX_CONFIG_BYTES:
            break
        del sizes[key]
    return {key: value for key, value in config.items() if key in sizes}


def _seed(config: dict[str, Any]) -> int | None:
    seed = config.get("seed")
    return seed if isinstance(seed, int) and not isinstance(seed, bool) and abs(seed) < 2**63 else None
