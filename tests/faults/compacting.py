"""A compactor in a process of its own, which dies in the middle of its n-th step: `compacting ADDRESS N`.

A step is a statement that writes, before or after it, or the commit; 0 means that it lives.
"""

import itertools
import os
import signal
import sys
from typing import Any

import sqlalchemy as sa

from foreshock.server.store.compactor import Compactor
from foreshock.server.store.engine import open_database


def main(address: str, last_step: int) -> None:
    """Makes chunks of all that is ready, unless it dies before."""
    with open_database(address) as database:
        steps = itertools.count(1)

        def advance() -> None:
            if next(steps) == last_step:
                os.kill(os.getpid(), signal.SIGKILL)

        def on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE")):
                advance()

        sa.event.listen(database.engine, "before_cursor_execute", on_statement)
        sa.event.listen(database.engine, "after_cursor_execute", on_statement)
        sa.event.listen(database.engine, "commit", lambda _connection: advance())
        while Compactor(database.engine).run_once():
            pass


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
