"""Offline runs of wandb: a log of records, whose messages wandb's own library reads.

The framing is LevelDB's log format behind seven bytes of wandb's own; it has stayed the same while the
library's reader for it has come and gone.
"""

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.errors import MissingLibraryError, SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Facts, Row, seconds, whole_number
from foreshock.exchange.sources.scalars import scalars_of

MAGIC: Final = b":W&B"
_HEAD: Final = struct.Struct("<4sHB")
_FRAME: Final = struct.Struct("<IHB")
_BLOCK_BYTES: Final = 32_768
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


class WandbSource:
    """One `.wandb` file."""

    kind = "wandb"

    def __init__(self, path: Path, naming: Naming) -> None:
        self.facts = Facts(path.stem.removeprefix("run-"))
        self._path, self._naming = path, naming

    def rows(self) -> Iterator[Row]:
        """Every row of the run's history; what the machine did is left out."""
        try:
            from google.protobuf.message import DecodeError
            from wandb.proto import wandb_internal_pb2
        except ImportError as error:
            raise MissingLibraryError("reading wandb's offline runs", "wandb", "wandb") from error
        left_out: dict[str, None] = {}
        for data in read_records(self._path):
            record = wandb_internal_pb2.Record()  # type: ignore[attr-defined, unused-ignore]
            try:
                record.ParseFromString(data)
                match record.WhichOneof("record_type"):
                    case "run":
                        self._describe(record.run)
                    case "history":
                        yield self._row(record.history, left_out)
                    case "exit":
                        self.facts.has_crashed = record.exit.exit_code != 0
            except (DecodeError, ValueError) as error:
                raise SourceError(self._path, f"a record cannot be read: {error}") from error
        self.facts.left_out = list(left_out)

    def _describe(self, run: Any) -> None:
        facts = self.facts
        facts.name = run.display_name or facts.name
        facts.project = run.project or None
        facts.group = run.run_group or None
        facts.tags = list(run.tags)
        config = {item.key: json.loads(item.value_json) for item in run.config.update}
        facts.config = {key: value for key, value in config.items() if not key.startswith("_")}

    def _row(self, history: Any, left_out: dict[str, None]) -> Row:
        told = {tuple(item.nested_key) or (item.key,): json.loads(item.value_json) for item in history.item}
        step = whole_number(told.pop(("_step",), history.step.num), "_step")
        time = seconds(told.pop(("_timestamp",), 0.0))
        # The library writes them in an order that differs from row to row
        own = {".".join(key): value for key, value in sorted(told.items()) if not key[0].startswith("_")}
        return Row(0, step, time, scalars_of(own, self._naming, left_out))


def read_records(path: Path) -> Iterator[bytes]:
    """The records of a `.wandb` file; a last one that is torn is left out. Raises SourceError."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size or _HEAD.unpack(head)[0] != MAGIC:
                raise SourceError(path, "no offline run of wandb: it does not begin with ':W&B'")
            gathered, left = b"", _BLOCK_BYTES - _HEAD.size
            while True:
                if left < _FRAME.size:
                    file.read(left)
                    left = _BLOCK_BYTES
                frame = file.read(_FRAME.size)
                if len(frame) < _FRAME.size:
                    return
                checksum, length, kind = _FRAME.unpack(frame)
                data = file.read(length)
                if len(data) < length:
                    return
                if zlib.crc32(bytes([kind]) + data) != checksum:
                    where = file.tell() - length - _FRAME.size
                    raise SourceError(
                        path, f"the record at byte {where} is damaged: its checksum is another's"
                    )
                left -= _FRAME.size + length
                gathered = data if kind in (_WHOLE, _FIRST) else gathered + data
                if kind in (_WHOLE, _LAST):
                    yield gathered
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror or error}") from error
