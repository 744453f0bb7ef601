"""The durable log between training and collector: a record leaves only when it is acknowledged.

One folder an attempt holds segments of framed records (length, CRC, sequence, last sequence). The
writer appends, the sender reads and acknowledges; both may be threads of one process. A torn tail
ends a segment where its last whole record ends. When the bound is reached the oldest batches give
way to tombstones under the same numbers, so that the collector knows what it will never get.
"""

import os
import secrets
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foreshock.probe.errors import SpoolError
from foreshock.wire import Batch, Layout, Record, Tombstone, decode_record, encode_record

_HEADER: Final = struct.Struct("<IIqq")
_SEGMENT_BYTES: Final = 2**20

# Why a tombstone stands in the place of records
_FULL: Final = "the spool was full"
_SENT: Final = "sent before, to a collector that has lost it"
_TORN: Final = "the spool was torn"


@dataclass(frozen=True, slots=True)
class Entry:
    """One encoded record with the sequence numbers it stands for."""

    sequence: int
    last_sequence: int
    data: bytes


@dataclass(slots=True)
class _Segment:
    path: Path
    first_sequence: int
    next_sequence: int
    num_bytes: int
    shrunk: bool = False


class Spool:
    """The log of one (run, rank, attempt) on disk."""

    def __init__(self, folder: Path, *, max_bytes: int = 2**30) -> None:
        """Opens or creates the folder. Raises SpoolError where it cannot be used."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = max(4096, min(_SEGMENT_BYTES, max_bytes // 8))
        self._lock = threading.RLock()
        self._file: int | None = None
        self._layouts: dict[int, Entry] = {}
        self.lost_frames = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._segments = [_scan(path) for path in sorted(folder.glob("segment-*.log"))]
            self.acknowledged = _read_number(folder / "acknowledged")
            self.session = _read_session(folder / "session")
            self._remember_layouts(_read_entries(folder / "layouts.log"))
        except OSError as error:
            raise SpoolError(f"the spool folder {folder} cannot be used: {error}") from error
        last = self._segments[-1].next_sequence if self._segments else 0
        self.next_sequence = max(last, self.acknowledged)

    @property
    def folder(self) -> Path:
        """Where the segments lie."""
        return self._folder

    @property
    def num_bytes(self) -> int:
        """Bytes on disk, acknowledged segments not counted."""
        with self._lock:
            return sum(segment.num_bytes for segment in self._segments)

    @property
    def is_drained(self) -> bool:
        """Whether everything appended so far is acknowledged."""
        with self._lock:
            return self.acknowledged >= self.next_sequence

    def append(self, records: Iterable[Record]) -> None:
        """Writes records durably, in order. Raises OSError where the disk refuses; nothing is half kept."""
        entries = [Entry(record.sequence, record.sequence, encode_record(record)) for record in records]
        layouts = [e for e, r in zip(entries, records, strict=True) if isinstance(r, Layout)]
        if not entries:
            return
        with self._lock:
            if layouts:
                self._keep_layouts(layouts)
            segment = self._open_segment(entries[0].sequence)
            assert self._file is not None
            data = b"".join(_frame(entry) for entry in entries)
            try:
                _write_all(self._file, data)
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, segment.num_bytes)
                raise
            segment.num_bytes += len(data)
            segment.next_sequence = self.next_sequence = entries[-1].last_sequence + 1
            self._shrink()

    def read(self, sequence: int, max_bytes: int) -> list[Entry]:
        """Entries from the one that holds `sequence` on, at least one if there is any, to `max_bytes`.

        What a torn segment has lost before others is stood in for, so that they follow one another.
        """
        with self._lock:
            entries: list[Entry] = []
            total, position = 0, sequence
            for segment in self._segments:
                if segment.next_sequence <= sequence:
                    continue
                for entry in _read_entries(segment.path):
                    if entry.last_sequence < sequence:
                        continue
                    total += len(entry.data)
                    if entries and total > max_bytes:
                        return entries
                    entries += self.reissue(position, entry.sequence, _TORN)
                    entries.append(entry)
                    position = entry.last_sequence + 1
            return entries + self.reissue(position, self.next_sequence, _TORN)

    def acknowledge(self, next_sequence: int) -> None:
        """Forgets what lies below `next_sequence`: the collector has it on disk."""
        with self._lock:
            if next_sequence <= self.acknowledged:
                return
            self.acknowledged = next_sequence
            (self._folder / "acknowledged").write_text(str(next_sequence))
            while self._segments and self._segments[0].next_sequence <= next_sequence:
                if len(self._segments) == 1 and self._file is not None:
                    self._close_file()
                self._segments.pop(0).path.unlink(missing_ok=True)

    def reissue(self, expected: int, before: int, reason: str = _SENT) -> list[Entry]:
        """Stands in for records `expected` .. `before` - 1, which are gone: acknowledged, or torn.

        Layouts come back under their own numbers, tombstones fill the rest: what a collector needs
        that has lost its database.
        """
        entries: list[Entry] = []
        position = expected
        for layout in sorted(self._layouts.values(), key=lambda entry: entry.sequence):
            if expected <= layout.sequence < before:
                entries.extend(_tombstone(position, layout.sequence - 1, 0, reason))
                entries.append(layout)
                position = layout.sequence + 1
        entries.extend(_tombstone(position, before - 1, 0, reason))
        return entries

    def move(self, folder: Path) -> None:
        """Renames the folder, for when the collector gave this attempt another number."""
        with self._lock:
            self._close_file()
            self._folder.rename(folder)
            self._folder = folder
            for segment in self._segments:
                segment.path = folder / segment.path.name

    def close(self) -> None:
        """Closes the open segment; the records stay."""
        with self._lock:
            self._close_file()

    def _open_segment(self, sequence: int) -> _Segment:
        current = self._segments[-1] if self._segments else None
        if self._file is None or current is None or current.num_bytes >= self._segment_bytes:
            self._close_file()
            path = self._folder / f"segment-{sequence:020d}.log"
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            current = _Segment(path, sequence, sequence, 0)
            self._segments.append(current)
        return current

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _keep_layouts(self, layouts: list[Entry]) -> None:
        self._remember_layouts(layouts)
        with (self._folder / "layouts.log").open("ab") as file:
            file.write(b"".join(_frame(entry) for entry in layouts))

    def _remember_layouts(self, layouts: Iterable[Entry]) -> None:
        self._layouts.update((entry.sequence, entry) for entry in layouts)

    def _shrink(self) -> None:
        """Turns the oldest batches into tombstones until the bound holds; the open segment stays."""
        for segment in self._segments[:-1]:
            if sum(s.num_bytes for s in self._segments) <= self._max_bytes:
                return
            if not segment.shrunk:
                self._drop_batches(segment)

    def _drop_batches(self, segment: _Segment) -> None:
        kept: list[Entry] = []
        for entry in _read_entries(segment.path):
            record = decode_record(entry.data)
            if isinstance(record, Batch):
                self.lost_frames += record.num_steps
                kept.extend(_tombstone(entry.sequence, entry.last_sequence, record.num_steps, _FULL))
            else:
                kept.append(entry)
        temporary = segment.path.with_suffix(".new")
        data = b"".join(_frame(entry) for entry in _merge_tombstones(kept))
        temporary.write_bytes(data)
        temporary.replace(segment.path)
        segment.num_bytes, segment.shrunk = len(data), True


def _tombstone(first: int, last: int, num_frames: int, reason: str) -> list[Entry]:
    if last < first:
        return []
    return [Entry(first, last, encode_record(Tombstone(first, last, num_frames, reason)))]


def _merge_tombstones(entries: list[Entry]) -> list[Entry]:
    merged: list[Entry] = []
    for entry in entries:
        record = decode_record(entry.data)
        before = decode_record(merged[-1].data) if merged else None
        if isinstance(record, Tombstone) and isinstance(before, Tombstone):
            frames = before.num_frames + record.num_frames
            merged[-1:] = _tombstone(before.sequence, record.last_sequence, frames, before.reason)
        else:
            merged.append(entry)
    return merged


def _frame(entry: Entry) -> bytes:
    head = _HEADER.pack(len(entry.data), zlib.crc32(entry.data), entry.sequence, entry.last_sequence)
    return head + entry.data


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _read_entries(path: Path) -> Iterator[Entry]:
    """Every whole entry of a file; a torn or corrupted one ends it."""
    data = path.read_bytes() if path.exists() else b""
    position = 0
    while position + _HEADER.size <= len(data):
        length, checksum, sequence, last_sequence = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size
        body = data[start : start + length]
        if len(body) < length or zlib.crc32(body) != checksum:
            return
        yield Entry(sequence, last_sequence, body)
        position = start + length


def _scan(path: Path) -> _Segment:
    first = next_sequence = int(path.stem.removeprefix("segment-"))
    num_bytes = 0
    for entry in _read_entries(path):
        next_sequence = entry.last_sequence + 1
        num_bytes += _HEADER.size + len(entry.data)
    return _Segment(path, first, next_sequence, num_bytes)


def _read_session(path: Path) -> str:
    """Who writes this attempt: the same name for ever, so that a collector knows a stranger."""
    if not path.exists():
        path.write_text(secrets.token_hex(8))
    return path.read_text()


def _read_number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return 0
