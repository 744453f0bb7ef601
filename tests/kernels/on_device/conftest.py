"""Tests of the Triton kernels: on a GPU where there is one, else where TRITON_INTERPRET=1.

`tests/kernels/test_interpreted.py` starts the second kind, in a process whose triton is interpreted
from its import on. Elsewhere nothing here is collected.
"""

import os
from collections.abc import Iterator

import pytest
import torch

from foreshock.kernels import use_backend

IS_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
collect_ignore_glob = [] if IS_INTERPRETED or torch.cuda.is_available() else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not IS_INTERPRETED and "on_device" in item.path.parts:
            item.add_marker(pytest.mark.gpu)
        # The interpreter computes with NumPy, which warns of the infinities and NaN that are asked of it.
        item.add_marker(pytest.mark.filterwarnings("ignore::RuntimeWarning"))


@pytest.fixture
def device() -> torch.device:
    return torch.device("cpu" if IS_INTERPRETED else "cuda")


@pytest.fixture(autouse=True)
def triton_on_memory_full_of_nan() -> Iterator[None]:
    """torch fills what `empty` hands out with NaN in its deterministic mode."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    with use_backend("triton"):
        yield
    torch.use_deterministic_algorithms(False)
