"""Mixings that the user names, in models that nobody else knows.

    attach(model, mixing={"blocks.*.hc": ".h_res"})

The key is a pattern over the names of modules, in which `*` and `?` stand for what is between two dots. The
value says where each finds its matrix once its forward pass is over: `.name` an attribute, `.name()` a
method, `[1]` an element of what it returned; with `.T` at the end the matrix is applied transposed,
x' = H^T x. The matrix is [n, n] or [B, S, n, n]; the streams are the module's first argument where that is
[B, S, n, C].
"""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from torch import Tensor, nn

from foreshock.probe.errors import AttachError
from foreshock.probe.observers.mixed import Mixed, MixingPoint

_WHERE: Final = re.compile(
    r"(?:\.(?P<name>[A-Za-z_]\w*)(?P<call>\(\))?|\[(?P<item>-?\d{1,3})\])(?P<transposed>\.T)?"
)


class NamedMixing:
    """A module and where its matrix is found."""

    def __init__(self, name: str, module: nn.Module, where: str) -> None:
        self.name, self.module = name, module
        match = _WHERE.fullmatch(where)
        if match is None:
            raise AttachError(
                f"mixing names {where!r}; give .attribute, .method() or [place in what the module returns], "
                "with .T after it where the matrix is applied transposed"
            )
        # Taken apart here: older torch cannot trace what a match is asked
        self._attribute, self._is_called = match["name"], bool(match["call"])
        self._item = int(match["item"]) if match["item"] else 0
        self._is_transposed = bool(match["transposed"])
        self.how = f"named by you: {where}"

    def parameters(self) -> Iterable[Tensor]:
        """All of the module's."""
        return self.module.parameters()

    def start(self) -> None:
        """Nothing is needed."""

    def read(self, args: tuple[Any, ...], output: Any) -> Mixed | None:
        """The matrix, for every token, beside the streams."""
        found = getattr(self.module, self._attribute) if self._attribute else output[self._item]
        matrix: Tensor = found() if self._is_called else found
        if self._is_transposed:
            matrix = matrix.transpose(-1, -2)
        streams = args[0] if args and isinstance(args[0], Tensor) else None
        return with_streams(matrix, streams)

    def close(self) -> None:
        """Nothing was changed."""


def with_streams(matrix: Tensor, streams: Tensor | None) -> Mixed:
    """A matrix [n, n] or [B, S, n, n] beside its streams, or beside none of them."""
    num_streams = matrix.shape[-1]
    if matrix.dim() < 2 or matrix.shape[-2] != num_streams:
        raise ValueError(f"a mixing matrix has the shape {list(matrix.shape)}; give [n, n] or [B, S, n, n]")
    fits = streams is not None and streams.dim() == 4 and streams.shape[2] == num_streams
    if matrix.dim() == 2:
        batch, length = streams.shape[:2] if streams is not None and fits else (1, 1)
        matrix = matrix.expand(batch, length, num_streams, num_streams)
    elif matrix.dim() == 3:
        matrix = matrix.unsqueeze(0)
    return Mixed(streams if fits else None, matrix)


def find_named(model: nn.Module, mixing: Mapping[str, str]) -> list[MixingPoint]:
    """The modules that `mixing` names, in the model's order.

    Raises AttachError for a pattern that names none, or a place that cannot be.
    """
    named = list(model.named_modules())
    for pattern in mixing:
        if not any(_fits(name, pattern) for name, _ in named):
            some = ", ".join(name for name, _ in named[1:4])
            raise AttachError(f"mixing names {pattern!r}, but no module is called so; there are {some}, ..")
    points: list[MixingPoint] = []
    for name, module in named:
        where = next((where for pattern, where in mixing.items() if _fits(name, pattern)), None)
        if where is not None:
            points.append(NamedMixing(name, module, where))
    return points


def _fits(name: str, pattern: str) -> bool:
    names, patterns = name.split("."), pattern.split(".")
    return len(names) == len(patterns) and all(map(fnmatchcase, names, patterns))
