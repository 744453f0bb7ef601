"""Operators that a compiled graph calls and does not look into: through them it tells what it computes.

Their first argument is a token that they seem to change, lest the graph leave them out. It lies on the host:
the graph copies it before and after, which there costs no launch.
"""

from collections.abc import Callable
from typing import Any, Final

import torch

# It must run at each step, and not once while launches are recorded for a CUDA graph: the graph is cut there.
# Older torch knows no such tag, and takes no graph at all where a tensor, the token, is on the host
_UNSAFE: Final = getattr(torch.Tag, "cudagraph_unsafe", None)


def opaque(name: str, arguments: str) -> Callable[[Callable[..., None]], Any]:
    """Makes a function of a token and these `arguments`, in torch's words for a schema, such an operator.

    In words, since torch before 2.7 does not read a sequence of optional tensors off annotations.
    """
    tags: dict[str, Any] = {} if _UNSAFE is None else {"tags": (_UNSAFE,)}
    schema = f"(Tensor(a!) token, {arguments}) -> ()"

    def decorate(function: Callable[..., None]) -> Any:
        operator = torch.library.custom_op(name, function, mutates_args=("token",), schema=schema, **tags)
        operator.register_fake(lambda *given: None)
        return operator

    return decorate


def token() -> torch.Tensor:
    """What such an operator is given first. Nothing else may be in it: the graph puts a copy back behind."""
    return torch.zeros(())
