"""Hooks that stay with the model they were put on.

A script may copy a watched model (an average of its weights) or pickle it. What would be copied with it is
the probe, or an error; so a copy gets, in a hook's place, what does nothing, and in a method's place the
method. Both are made of the standard library alone: a checkpoint needs no foreshock to be read.
"""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from torch import nn


class StayingHook:
    """A hook of a module, as `register_forward_hook` and its like take one."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        # Takes whatever it is given and returns None
        return getattr, (nullcontext(), "__exit__")


class HookedMethod:
    """A method of a module that can be hooked like a module: `hook(module, args, output)` after each call."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self._module, self._name = module, name

    def register_forward_hook(self, hook: Callable[..., Any]) -> "_ToldMethod":
        """Puts a method that tells in its place, until `remove`."""
        told = _ToldMethod(self._module, self._name, hook)
        vars(self._module)[self._name] = told
        return told


class _ToldMethod:
    def __init__(self, module: nn.Module, name: str, hook: Callable[..., Any]) -> None:
        self._module, self._name = module, name
        self._hook: Callable[..., Any] | None = hook
        self._original = getattr(module, name)

    def __call__(self, *args: Any) -> Any:
        output = self._original(*args)
        if self._hook is not None:
            self._hook(self._module, args, output)
        return output

    def __reduce__(self) -> tuple[Any, ...]:
        # The class's own, bound to the copy, which has no attributes yet when this is asked
        return getattr, (self._module, self._name)

    def remove(self) -> None:
        """Tells nobody any more, and leaves the module as it was once nobody above or below tells."""
        self._hook = None
        attributes = vars(self._module)
        while isinstance(top := attributes.get(self._name), _ToldMethod) and top._hook is None:
            if isinstance(top._original, _ToldMethod):
                attributes[self._name] = top._original
            else:
                del attributes[self._name]
