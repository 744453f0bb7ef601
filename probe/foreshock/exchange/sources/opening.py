"""Which runs a path holds, and in which form: by its name, else by its first bytes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from foreshock.exchange.errors import SourceError
from foreshock.exchange.names import Naming
from foreshock.exchange.rows import Source
from foreshock.exchange.sources import trackio, wandb
from foreshock.exchange.sources.csv import CsvSource
from foreshock.exchange.sources.jsonl import JsonlSource
from foreshock.exchange.sources.parquet import ParquetSource
from foreshock.exchange.sources.tensorboard import TensorBoardSource

KINDS: Final = ("csv", "jsonl", "parquet", "tensorboard", "wandb", "trackio")
_SUFFIXES: Final = {
    ".csv": "csv",
    ".csv.gz": "csv",
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".wandb": "wandb",
}
_MAGICS: Final = {b"PAR1": "parquet", wandb.MAGIC: "wandb", trackio.MAGIC: "trackio", b"{": "jsonl"}
_EVENT_FILE: Final = "tfevents"

NamingOf = Callable[[], Naming]


def open_sources(path: Path, kind: str | None, naming_of: NamingOf) -> Sequence[tuple[Source, Naming]]:
    """The runs that a file or folder holds, each with its names.

    A folder is searched for event files (each folder below it is a run) and for offline runs of wandb.
    Raises SourceError where there is none, or nobody can say what it is.
    """
    if not path.exists():
        raise SourceError(path, "there is no such file")
    if path.is_dir():
        return _open_folder(path, kind, naming_of)
    naming = naming_of()
    match kind or _guess(path):
        case "csv":
            return [(CsvSource(path, naming), naming)]
        case "jsonl":
            return [(JsonlSource(path, naming), naming)]
        case "parquet":
            return [(ParquetSource(path, naming), naming)]
        case "wandb":
            return [(wandb.WandbSource(path, naming), naming)]
        case "tensorboard":
            return [(TensorBoardSource([path], path.absolute().parent.name or "run", naming), naming)]
        case "trackio":
            return trackio.trackio_sources(path, naming_of)
    raise SourceError(path, f"not known what this is: say --from {', '.join(KINDS)}")


def _open_folder(path: Path, kind: str | None, naming_of: NamingOf) -> Sequence[tuple[Source, Naming]]:
    found: list[tuple[Source, Naming]] = []
    if kind in (None, "tensorboard"):
        folders: dict[Path, list[Path]] = {}
        for file in sorted(path.rglob(f"*{_EVENT_FILE}*")):
            if file.is_file():
                folders.setdefault(file.parent, []).append(file)
        for folder, files in folders.items():
            name = path.absolute().name if folder == path else folder.relative_to(path).as_posix()
            naming = naming_of()
            found.append((TensorBoardSource(files, name, naming), naming))
    if kind in (None, "wandb"):
        for file in sorted(path.rglob("*.wandb")):
            naming = naming_of()
            found.append((wandb.WandbSource(file, naming), naming))
    if not found:
        raise SourceError(
            path, "the folder holds neither event files of TensorBoard nor offline runs of wandb"
        )
    return found


def _guess(path: Path) -> str | None:
    if _EVENT_FILE in path.name:
        return "tensorboard"
    for suffix, kind in _SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return kind
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        raise SourceError(path, f"cannot be read: {error.strerror or error}") from error
    return next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), None)
