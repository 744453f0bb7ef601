"""Which names runs may have."""

import re
from typing import Final

from foreshock.server.errors import InvalidError

_RUN_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_run_id(run_id: str) -> str:
    """The run's id; raises InvalidError for one that no run can have."""
    if _RUN_ID.fullmatch(run_id) is None or run_id in (".", ".."):
        raise InvalidError(
            f"{run_id[:80]!r} is no run id: 1 to 64 letters, digits, '.', '_' and '-' are allowed"
        )
    return run_id
