"""What all rooms' tests share."""

import os

import pytest


def require(available: bool, what: str) -> None:
    """Skips a test whose real service is missing; fails it where the service is promised (CI=true)."""
    if available:
        return
    message = f"{what} is not installed: run `make services`"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
