"""A collector's runs and numbers in Python: `Client`, numpy arrays, pandas frames."""

from foreshock.query.client import Client
from foreshock.query.errors import (
    AddressError,
    MissingLibraryError,
    ProblemError,
    QueryError,
    UnknownColumnError,
    UnreachableError,
)
from foreshock.query.frames import Frames, Values
from foreshock.query.run import Run

__all__ = [
    "AddressError",
    "Client",
    "Frames",
    "MissingLibraryError",
    "ProblemError",
    "QueryError",
    "Run",
    "UnknownColumnError",
    "UnreachableError",
    "Values",
]
