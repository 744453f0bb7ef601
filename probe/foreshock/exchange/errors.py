"""What can go wrong while numbers are brought in or taken out."""

from pathlib import Path


class ExchangeError(Exception):
    """Base of all errors of imports and exports; one line on the command line, exit status 2."""


# What a file says may be of any length, and a terminal's line is not
_LONGEST = 1000


class SourceError(ExchangeError):
    """Raised when a file cannot be read as what it is said to be; names the file, and the line if known."""

    def __init__(self, path: Path, message: str, line: int | None = None) -> None:
        where = str(path) if line is None else f"{path}, line {line}"
        told = message if len(message) <= _LONGEST else f"{message[:_LONGEST]} .. ({len(message)} characters)"
        super().__init__(f"{where}: {told}")


class MissingLibraryError(ExchangeError):
    """Raised when a format needs a library that is not installed; the message names the extra."""

    def __init__(self, task: str, library: str, extra: str) -> None:
        super().__init__(f"{task} needs {library}: pip install 'foreshock[{extra}]'")


class OptionError(ExchangeError):
    """Raised when options of the command contradict one another or what the file holds."""


class TakenError(ExchangeError):
    """Raised when the collector already holds something else under the run's id."""
