"""Counts the bytes that an interpreted kernel asks of global memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from triton.runtime.interpreter import InterpreterBuilder


@dataclass(slots=True)
class Traffic:
    """Bytes of entries that loads and stores touched, masked-off entries left out."""

    loaded_bytes: int = 0
    stored_bytes: int = 0


@contextmanager
def counted() -> Iterator[Traffic]:
    """Counts what kernels load and store while the context is open."""
    traffic = Traffic()
    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def counting_load(self: Any, ptrs: Any, mask: Any, *rest: Any) -> Any:
        traffic.loaded_bytes += int(mask.data.sum()) * ptrs.get_element_ty().primitive_bitwidth // 8
        return load(self, ptrs, mask, *rest)

    def counting_store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any) -> Any:
        traffic.stored_bytes += int(mask.data.sum()) * ptrs.get_element_ty().primitive_bitwidth // 8
        return store(self, ptrs, value, mask, *rest)

    InterpreterBuilder.create_masked_load = counting_load
    InterpreterBuilder.create_masked_store = counting_store
    try:
        yield traffic
    finally:
        InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store = load, store
