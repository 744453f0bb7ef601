"""One recorded run on disk: every signal that the probe emitted, and a manifest that vouches for it.

    RUN_ID/signals.parquet    a row a trained step: attempt, step, time, and a float32 column a series;
                              null where a series has no value at that step, NaN where its value is NaN
    RUN_ID/manifest.json      what was trained, with what, what the probe declared and noted, and the
                              sha256 of the Parquet file
    RUN_ID/labels.json        written later, by `foreshock scenarios label`
    RUN_ID/states, forks      of a run that is to be put under stress (see trunk.py)

The manifest is written last, so a folder with a manifest is a whole record.
"""

import hashlib
import json
import os
import platform
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from foreshock.probe.spool import Spool
from foreshock.reference_models import plain_json
from foreshock.reference_models.errors import RecordError, RecordVersionError
from foreshock.wire import (
    MISSING,
    WIRE_VERSION,
    Batch,
    Event,
    Layout,
    Record,
    Tombstone,
    batch_steps,
    batch_times,
    batch_values,
    decode_record,
    is_missing,
)

FloatColumn = NDArray[np.float32]

FORMAT_VERSION: Final = 2
SIGNALS: Final = "signals.parquet"
MANIFEST: Final = "manifest.json"
# The columns that say which row it is; every other column is a series
KEYS: Final = ("attempt", "step", "time")
_STEP_STREAM: Final = "step"
_VERSIONED: Final = ("foreshock", "torch", "numpy", "pyarrow")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A verified record: its folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def run_id(self) -> str:
        """The run's identity."""
        run_id: str = self.manifest["run_id"]
        return run_id

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """The signals, or some columns of them; raises RecordError for a column that is not there."""
        path = self.folder / SIGNALS
        if columns is not None:
            missing = sorted(set(columns) - set(pq.read_schema(path).names))
            if missing:
                raise RecordError(f"{path} has no column {missing[0]!r}; the probe did not record it")
        return pq.read_table(path, columns=columns)

    def column_names(self) -> list[str]:
        """The columns of the signals, KEYS first."""
        names: list[str] = pq.read_schema(self.folder / SIGNALS).names
        return names

    def losses(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps and losses in the order of training; steps without a loss are left out."""
        table = self.table(["step", "loss"])
        table = table.filter(table["loss"].is_valid())
        return table["step"].to_numpy(), table["loss"].to_numpy().astype(np.float64)


@dataclass(slots=True)
class _Attempt:
    """What one attempt's spool holds: frames by stream, events, and what was lost."""

    frames: dict[str, list[tuple[tuple[str, ...], Batch]]]
    events: list[Event]
    num_lost: int


def write_record(spool_directory: Path, folder: Path, facts: dict[str, Any]) -> RunRecord:
    """Makes a record of a run's spool, as the probe left it in offline mode.

    `spool_directory` is the run's own folder of it (`Probe.spool_directory`); `facts` go into the manifest.
    Raises RecordError where the spool holds no steps.
    """
    rank_folder = spool_directory / "rank-0"
    numbers = sorted(int(path.name.removeprefix("attempt-")) for path in rank_folder.glob("attempt-*"))
    attempts = {number: _read_attempt(rank_folder / f"attempt-{number}") for number in numbers}
    tables = [_table(number, attempt) for number, attempt in attempts.items()]
    tables = [table for table in tables if table is not None]
    if not tables:
        raise RecordError(f"{spool_directory} holds no steps; the run ended before its first")
    table = pa.concat_tables(tables, promote_options="default")
    folder.mkdir(parents=True, exist_ok=True)
    _write_table(table, folder / SIGNALS)
    manifest = {
        "format_version": FORMAT_VERSION,
        "wire_version": WIRE_VERSION,
        "sha256": _sha256(folder / SIGNALS),
        "num_rows": table.num_rows,
        "num_series": table.num_columns - len(KEYS),
        "num_lost_frames": sum(attempt.num_lost for attempt in attempts.values()),
        "events": [
            {"attempt": number, "step": event.step, "kind": event.kind, "detail": event.detail}
            for number, attempt in attempts.items()
            for event in attempt.events
        ],
        "declaration": json.loads((spool_directory / "rank-0.json").read_bytes()),
        "versions": versions(),
    }
    write_atomically(folder / MANIFEST, plain_json.dump(manifest | facts).encode())
    return read_record(folder)


def read_record(folder: Path, *, verify: bool = True) -> RunRecord:
    """A record that is whole and of this version; raises RecordError for any other folder.

    `verify=False` trusts the Parquet file without reading it through.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{folder} holds no recorded run: {path.name} cannot be read") from error
    except (ValueError, RecursionError) as error:
        raise RecordError(
            f"{path} is damaged: {str(error)[:200]}; delete the folder and run it again"
        ) from error
    found = manifest.get("format_version") if isinstance(manifest, dict) else None
    if found != FORMAT_VERSION:
        raise RecordVersionError(
            f"{folder} was recorded in format version {found}, this foreshock reads {FORMAT_VERSION}: "
            "give another --out, or use the foreshock that wrote it"
        )
    missing = [key for key in ("sha256", "declaration") if key not in manifest]
    if missing:
        raise RecordError(f"{path} lacks {', '.join(missing)}; delete the folder and run it again")
    signals = folder / SIGNALS
    if not signals.is_file() or (verify and _sha256(signals) != manifest["sha256"]):
        raise RecordError(
            f"{signals} is not what {path.name} vouches for; delete the folder and run it again"
        )
    return RunRecord(folder, manifest)


def note_in_manifest(record: RunRecord, key: str, value: Any) -> RunRecord:
    """Changes what a manifest says of a matter that nothing recorded depends on."""
    manifest = record.manifest | {key: value}
    write_atomically(record.folder / MANIFEST, plain_json.dump(manifest).encode())
    return RunRecord(record.folder, manifest)


def find_records(directory: Path) -> list[Path]:
    """The folders of `directory` that hold a manifest, by name."""
    return sorted(path.parent for path in directory.glob(f"*/{MANIFEST}"))


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that it is there whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def versions() -> dict[str, str]:
    """What the record was made with."""
    told = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _VERSIONED:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            told[name] = "unknown"
    return told


def _read_attempt(folder: Path) -> _Attempt:
    """Every record of a spool, in order, through the wire's own codec."""
    attempt = _Attempt(defaultdict(list), [], 0)
    layouts: dict[int, Layout] = {}
    for record in _records(folder):
        match record:
            case Layout():
                layouts[record.layout_id] = record
            case Batch():
                layout = layouts[record.layout_id]
                attempt.frames[layout.stream].append((layout.columns, record))
            case Event():
                attempt.events.append(record)
            case Tombstone():
                attempt.num_lost += record.num_frames
    return attempt


def _records(folder: Path) -> Iterator[Record]:
    spool = Spool(folder)
    sequence = 0
    while entries := spool.read(sequence, 2**24):
        for entry in entries:
            yield decode_record(entry.data)
        sequence = entries[-1].last_sequence + 1
    spool.close()


def _table(number: int, attempt: _Attempt) -> pa.Table | None:
    """One attempt's rows: the steps of the step stream, with the other streams' values beside them."""
    batches = [batch for _, batch in attempt.frames[_STEP_STREAM]]
    if not batches:
        return None
    steps = np.concatenate([batch_steps(batch) for batch in batches])
    series: dict[str, FloatColumn] = {}
    for frames in attempt.frames.values():
        # A stream's columns may change on the way, when the probe comes to see more
        for columns in dict.fromkeys(columns for columns, _ in frames):
            _place([frame for frame in frames if frame[0] == columns], steps, series)
    keys = {
        "attempt": pa.array(np.full(len(steps), number, np.int32)),
        "step": pa.array(steps),
        "time": pa.array(np.concatenate([batch_times(batch) for batch in batches])),
    }
    return pa.table(
        keys | {name: pa.array(column, mask=is_missing(column)) for name, column in series.items()}
    )


def _place(
    frames: list[tuple[tuple[str, ...], Batch]], steps: NDArray[np.int64], series: dict[str, FloatColumn]
) -> None:
    """Puts one stream's values at their places among `steps`; streams may share a series."""
    own_steps = np.concatenate([batch_steps(batch) for _, batch in frames])
    values_SK = np.concatenate([batch_values(batch) for _, batch in frames], axis=1)
    places = np.searchsorted(steps, own_steps)
    is_known = (places < len(steps)) & (steps[np.minimum(places, len(steps) - 1)] == own_steps)
    for name, values_K in zip(frames[0][0], values_SK, strict=True):
        column = series.setdefault(name, np.full(len(steps), MISSING, np.float32))
        is_here = is_known & ~is_missing(values_K)
        column[places[is_here]] = values_K[is_here]


def _write_table(table: pa.Table, path: Path) -> None:
    """Parquet whose float bytes are split by significance, which is what makes noise compress at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(
        table,
        temporary,
        compression="zstd",
        use_dictionary=False,
        use_byte_stream_split=[name for name in table.column_names if name not in ("attempt", "step")],
        write_statistics=False,
    )
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
