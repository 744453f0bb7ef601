"""Two collectors on one PostgreSQL behind a proxy, one of them killed during ingest and started again.

Both store, judge and compact. Alerts must be opened once, told once, and numbered without gaps: the
comparison with a single collector that met no fault holds all of that.
"""

import random
import time
from pathlib import Path
from typing import Final

from tests.faults.check import check, check_frames
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm
from tests.faults.postgres import Postgres
from tests.faults.proxy import Proxy

NAME: Final = "one of two collectors killed"
NUM_TRIALS: Final = 20
NUM_STEPS: Final = 4800
MAX_SECONDS: Final = 2.0


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Kills `num_trials` times, either of them by chance."""
    chance, harm = random.Random(), Harm()
    with Postgres() as postgres:
        database = postgres.create()
        with (
            Collector(folder, database) as one,
            Collector(folder, database) as other,
            Proxy((one.port, other.port)) as proxy,
        ):
            load = Load(proxy.url, make_load(num_steps), seconds=num_trials * MAX_SECONDS)
            load.start()
            for _ in range(num_trials):
                time.sleep(chance.uniform(0.02, MAX_SECONDS))
                killed, spared = chance.sample((one, other), 2)
                killed.kill()
                harm += check_frames(spared.url, load.logs, load.acknowledged())
                killed.start()
            load.join()
            harm += check(one, load)
    return harm, f"{load.num_tries_again} requests sent again"
