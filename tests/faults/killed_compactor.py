"""SIGKILL of a compactor within its transaction, on SQLite and on PostgreSQL, with nothing else at work.

A load is delivered and judged once, uncompacted; each trial goes on from where the last kill has left a
copy of that, until all is in chunks and another copy is taken.
"""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.faults.check import check, check_storage, num_windows, open_engine, wait_until_judged
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm
from tests.faults.postgres import Postgres

NAME: Final = "compactor killed"
NUM_TRIALS: Final = 40
NUM_STEPS: Final = 4800
# A window takes about ten steps
MAX_STEPS: Final = 20
NEVER: Final = "1e9"


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Kills `num_trials` times, half of them on each kind of database."""

    def copy_file() -> str:
        path = folder / f"copy-{chance.getrandbits(32)}.db"
        shutil.copy(template, path)
        return str(path)

    chance, template = random.Random(), folder / "template.db"
    load = _prepare(folder, str(template), num_steps)
    harm = _kill(folder, load, copy_file, -(-num_trials // 2), chance)
    with Postgres() as postgres:
        prepared = postgres.create()
        load = _prepare(folder, prepared, num_steps)
        harm += _kill(folder, load, lambda: postgres.create(template=prepared), num_trials // 2, chance)
    return harm, "between two statements of a transaction, or before its commit"


def _prepare(folder: Path, database: str, num_steps: int) -> Load:
    """A load that is stored and judged, of which nothing is in chunks."""
    with Collector(folder, database, FORESHOCK_COMPACT_INTERVAL_SECONDS=NEVER) as collector:
        load = Load(collector.url, make_load(num_steps), seconds=0)
        load.start()
        load.join()
        with open_engine(database) as engine:
            wait_until_judged(engine, load.logs)
        collector.stop()
    return load


def _kill(folder: Path, load: Load, copy: Callable[[], str], num_trials: int, chance: random.Random) -> Harm:
    harm, num_kills = Harm(), 0
    while num_kills < num_trials:
        database = copy()
        while num_kills < num_trials and _compact(database, chance.randint(1, MAX_STEPS)):
            num_kills += 1
            with open_engine(database) as engine:
                harm += check_storage(engine)
        if _compact(database, 0):
            raise AssertionError("a compactor that nobody kills has died")
        with open_engine(database) as engine:
            if num_windows(engine) == 0:
                raise AssertionError("there was nothing to compact")
        with Collector(folder, database, FORESHOCK_COMPACT_INTERVAL_SECONDS=NEVER) as collector:
            harm += check(collector, load)
    return harm


def _compact(database: str, last_step: int) -> bool:
    """Whether a compactor was killed before it had done everything."""
    command = [sys.executable, "-m", "tests.faults.compacting", database, str(last_step)]
    status = subprocess.run(command, check=False).returncode
    if status not in (0, -signal.SIGKILL):
        raise AssertionError(f"the compactor has ended with {status}")
    return status != 0
