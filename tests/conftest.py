"""What all rooms' tests share."""

import os
import signal

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


def pytest_configure() -> None:
    """A shell ignores SIGINT for what it starts in the background, children too: none would hear a Ctrl-C."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
