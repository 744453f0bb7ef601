"""A recorded run as the detectors see it: blocks of steps, streamed from whatever file it lies in.

trace = open_trace(Path("run.csv.gz"), {"train/loss": "loss"})
for transition in replay_trace(trace, trace.context):
    ...
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.errors import SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Source
from foreshock.exchange.sources import KINDS, open_sources
from foreshock.server.detection.block import Block
from foreshock.server.detection.case import ScheduleChange
from foreshock.server.detection.context import RunContext
from foreshock.server.replay.gathering import Gathering, Part
from foreshock.server.replay.head import csv_head, jsonl_head, parquet_head, text_columns
from foreshock.server.replay.parquet import ParquetTrace
from foreshock.server.replay.record import NOTHING, SIGNALS, Declared, is_record, read_declared
from foreshock.server.replay.strides import Strides

LOSS: Final = "loss"
_HEADS: Final[Mapping[str, Callable[[Path], dict[str, Any]]]] = {
    "csv": csv_head,
    "jsonl": jsonl_head,
    "parquet": parquet_head,
}


class Trace:
    """One recorded run; it may be read again and again, each time from its beginning.

    `context` is what the trace declares of its run (only a recorded run's manifest declares anything),
    `num_steps` how many steps have been read, `series` what they brought.
    """

    def __init__(
        self, path: Path, mapping: Mapping[str, str], declared: Declared = NOTHING, kind: str | None = None
    ) -> None:
        self.path = path
        self.context: RunContext = declared.context
        self.num_steps = 0
        self.series: set[str] = set()
        self._file = path / SIGNALS if is_record(path) else path
        self._changes = declared.changes
        self._warnings: tuple[str, ...] = ()
        self._kind = kind
        form = self._source(Naming()).kind
        head = _HEADS[form](self._file) if form in _HEADS else {}
        self._texts = [name for name in text_columns(head) if name not in mapping]
        self._mapping = {**mapping, **dict.fromkeys(self._texts, "")}
        naming = Naming(self._mapping)
        ours = set(map(naming.column, head))
        if form in ("csv", "parquet"):
            naming.check_used()  # before anything is judged: the head names all columns that there are
        # Later lines of JSON may bring what the first has not
        if form != "jsonl" and "step" in ours and LOSS not in ours:
            raise SourceError(path, _no_loss("column"))

    @property
    def total_steps(self) -> int | None:
        """The length that the run was to have, None where the trace does not declare it.

        Never the number of its rows: of a run that died they would tell when.
        """
        return self.context.total_steps

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not as it should be, one line each; whole once all blocks have been read."""
        return self._warnings

    def changes(self, attempt: int) -> list[ScheduleChange]:
        """The schedule changes that were logged in an attempt."""
        return self._changes.get(attempt, [])

    def blocks(self) -> Iterator[Block]:
        """Blocks of at most 1024 steps. Within an attempt steps rise; one that does not begins the next.

        Raises SourceError or another ExchangeError at what cannot be read.
        """
        return (block for _, block in self.parts())

    def parts(self) -> Iterator[Part]:
        """The same, each block with the number of its attempt."""
        naming, gathering, strides = Naming(self._mapping), Gathering(), Strides()
        self.num_steps, self.series, has_loss = 0, set(), False
        for attempt, block in self._read(naming, gathering):
            self.num_steps += len(block)
            self.series.update(block.columns.series)
            has_loss = has_loss or _tells_loss(block)
            strides.note(attempt, block)
            yield attempt, block
        naming.check_used()
        if not self.num_steps:
            raise SourceError(self.path, "holds no values: there is nothing to judge")
        if not has_loss:
            raise SourceError(self.path, _no_loss("series"))
        texts = [f"words, left out: {', '.join(self._texts)}"] if self._texts else []
        self._warnings = (*naming.notes, *texts, *gathering.notes, *strides.notes)

    def _read(self, naming: Naming, gathering: Gathering) -> Iterator[Part]:
        source = self._source(naming)
        if source.kind == "parquet" and (wide := ParquetTrace.of(self._file, naming)) is not None:
            yield from wide.parts()
            return
        rows = source.rows()
        try:
            yield from gathering.parts(rows)
        finally:
            # A source that is left before its end must let go of its file now
            if isinstance(rows, Generator):
                rows.close()

    def _source(self, naming: Naming) -> Source:
        found = open_sources(self._file, self._kind, lambda: naming)
        if len(found) > 1:
            names = ", ".join(source.facts.name for source, _ in found[:8])
            message = f"holds {len(found)} runs, and replay takes one: give the path of one ({names})"
            raise SourceError(self.path, message)
        return found[0][0]


def open_trace(path: Path, mapping: Mapping[str, str] | None = None, kind: str | None = None) -> Trace:
    """Opens a trace; `mapping` renames its columns, theirs to ours, "" leaves one out.

    `kind` says in which form a file is, where neither its name nor its first bytes do.

    A path is a file that `foreshock import` would read, a folder of one run's TensorBoard event files,
    or the folder of a recorded run (`signals.parquet` with its `manifest.json`). Raises SourceError.
    """
    if kind is not None and kind not in KINDS:
        raise SourceError(path, f"--from {kind[:40]!r} is no form: say one of {', '.join(KINDS)}")
    return Trace(path, mapping or {}, read_declared(path) if is_record(path) else NOTHING, kind)


def _tells_loss(block: Block) -> bool:
    place = block.columns.scalar(LOSS)
    return place is not None and bool(block.present[:, place].any())


def _no_loss(what: str) -> str:
    return f"there is no {what} 'loss', by which most rules go: name it with --map THEIRS=loss"
