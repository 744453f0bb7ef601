"""What all rooms' tests share."""

import os

import pytest
from hypothesis import settings

# Tests never judge wall time: a busy machine must not fail a property
settings.register_profile("foreshock", deadline=None)
settings.load_profile("foreshock")


def require(available: bool, what: str) -> None:
    """Skips a test whose real service is missing; fails it where the service is promised (CI=true)."""
    if available:
        return
    message = f"{what} is not installed: run `make services`"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
