"""Bars on standard error that begin with the first thing to show."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class LateProgress:
    """Holds a bar for everything; what is refused before the first start is told without a bar above it."""

    def __init__(self, name: str, total: int | None) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._all = self._progress.add_task(name, total=total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # One that never began would still end its line
        if self._progress.live.is_started:
            self._progress.stop()
