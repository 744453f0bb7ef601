"""TensorBoard event files, read by TensorBoard's own library; one folder is one run."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.errors import MissingLibraryError, SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Facts, Row, seconds, whole_number

_PLUGIN: Final = "scalars"
# A record's length with its checksum before it, and a checksum behind it
_HEAD: Final = struct.Struct("<QI")
_NUM_AROUND: Final = _HEAD.size + 4


class TensorBoardSource:
    """The event files of one folder, in the order of their names, which is that of their times."""

    kind = "tensorboard"

    def __init__(self, files: list[Path], name: str, naming: Naming) -> None:
        self.facts = Facts(name)
        self._files, self._naming = files, naming

    def rows(self) -> Iterator[Row]:
        """Each scalar that was written, as a row of its own; a last event that is torn is left out."""
        left_out: dict[str, None] = {}
        for path in self._files:
            try:
                for event in _read_events(path):
                    yield from self._scalars(event, left_out)
            except (OSError, ValueError) as error:
                raise SourceError(path, str(error)) from error
        self.facts.left_out = list(left_out)

    def _scalars(self, event: Any, left_out: dict[str, None]) -> Iterator[Row]:
        from tensorboard.util import tensor_util

        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name != _PLUGIN:
                left_out[value.tag] = None
                continue
            name = self._naming.series(value.tag)
            if name is not None:
                number = float(tensor_util.make_ndarray(value.tensor).item())
                step = whole_number(event.step, f"the step of {value.tag!r}")
                yield Row(0, step, seconds(event.wall_time), {name: number})


def _read_events(path: Path) -> Iterator[Any]:
    """The events of a file, old forms of summaries brought to the newest.

    Raises SourceError for what is no event file, or is damaged before its end: the library takes both for
    files to which more will be written.
    """
    try:
        from google.protobuf.message import DecodeError
        from tensorboard import data_compat, dataclass_compat
        from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
        from tensorboard.compat.proto.event_pb2 import Event
    except ImportError as error:
        raise MissingLibraryError("reading TensorBoard event files", "tensorboard", "tensorboard") from error
    metadata: dict[str, Any] = {}
    num_bytes = 0
    for data in RawEventFileLoader(str(path)).Load():
        num_bytes += len(data) + _NUM_AROUND
        try:
            event = data_compat.migrate_event(Event.FromString(data))
        except DecodeError as error:
            raise SourceError(path, f"the event before byte {num_bytes} cannot be read: {error}") from error
        yield from dataclass_compat.migrate_event(event, metadata)
    if not num_bytes:
        raise SourceError(path, "no TensorBoard event file, or an empty one")
    # What is torn at the end is no fault: a process was killed, or writes on
    if _is_damaged(path, num_bytes):
        raise SourceError(path, f"the event at byte {num_bytes} is damaged: its checksum is another's")


def _is_damaged(path: Path, start: int) -> bool:
    """Whether what lies there should have been read: its length can be trusted, and so much follows."""
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    with path.open("rb") as file:
        file.seek(start)
        head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        return False
    length, checksum = _HEAD.unpack(head)
    is_length: bool = masked_crc32c(head[:8]) == checksum
    return not is_length or start + length + _NUM_AROUND <= path.stat().st_size
