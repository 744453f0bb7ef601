"""SIGKILL of PostgreSQL with all its processes under load; the collector is left to find its way back."""

import random
import time
from pathlib import Path
from typing import Final

from tests.faults.check import check, check_frames
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm
from tests.faults.postgres import Postgres

NAME: Final = "PostgreSQL killed"
NUM_TRIALS: Final = 10
NUM_STEPS: Final = 4800
# From one start to the next kill, and from a kill to the start, at most
MAX_SECONDS: Final = 2.0


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Kills `num_trials` times."""
    chance, harm = random.Random(), Harm()
    with Postgres() as postgres, Collector(folder, postgres.create()) as collector:
        pid = collector.pid
        load = Load(collector.url, make_load(num_steps), seconds=num_trials * MAX_SECONDS)
        load.start()
        for _ in range(num_trials):
            time.sleep(chance.uniform(0.02, MAX_SECONDS))
            postgres.kill()
            acknowledged = load.acknowledged()
            time.sleep(chance.uniform(0, MAX_SECONDS))
            postgres.start()
            collector.wait()
            harm += check_frames(collector.url, load.logs, acknowledged)
        load.join()
        harm += check(collector, load)
        if collector.pid != pid:
            raise AssertionError("the collector was started again")
    return harm, f"{load.num_tries_again} requests sent again"
