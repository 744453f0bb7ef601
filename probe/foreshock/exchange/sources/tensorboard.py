"""TensorBoard event files, read by TensorBoard's own library; one folder is one run."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from foreshock.exchange.errors import MissingLibraryError, SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Facts, Row, whole_number

_PLUGIN: Final = "scalars"


class TensorBoardSource:
    """The event files of one folder, in the order of their names, which is that of their times."""

    kind = "tensorboard"

    def __init__(self, files: list[Path], name: str, naming: Naming) -> None:
        self.facts = Facts(name)
        self._files, self._naming = files, naming

    def rows(self) -> Iterator[Row]:
        """Each scalar that was written, as a row of its own."""
        try:
            from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
            from tensorboard.util import tensor_util
        except ImportError as error:
            raise MissingLibraryError(
                "reading TensorBoard event files", "tensorboard", "tensorboard"
            ) from error
        left_out: dict[str, None] = {}
        for path in self._files:
            _check_head(path)
            try:
                for event in EventFileLoader(str(path)).Load():
                    for value in event.summary.value:
                        if value.metadata.plugin_data.plugin_name != _PLUGIN:
                            left_out[value.tag] = None
                            continue
                        name = self._naming.series(value.tag)
                        if name is not None:
                            number = float(tensor_util.make_ndarray(value.tensor).item())
                            step = whole_number(event.step, f"the step of {value.tag!r}")
                            yield Row(0, step, event.wall_time, {name: number})
            except (OSError, ValueError) as error:
                raise SourceError(path, str(error)) from error
            except Exception as error:
                if _is_parse_error(error):
                    raise SourceError(path, f"an event cannot be read: {error}") from error
                raise
        self.facts.left_out = list(left_out)


def _check_head(path: Path) -> None:
    """The library takes a file that is no event file for one that has no events yet."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror or error}") from error
    if len(head) < 12 or struct.unpack_from("<Q", head)[0] > path.stat().st_size:
        raise SourceError(path, "no TensorBoard event file, or an empty one")


def _is_parse_error(error: Any) -> bool:
    from google.protobuf.message import DecodeError

    return isinstance(error, DecodeError)
