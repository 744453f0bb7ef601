"""The collector's clock is set back under load, by an hour and more; every other time it is killed as well.

The probes' clocks are wrong as well: that of one run falls back by a day (see `load`).
"""

import os
import random
import time
from pathlib import Path
from typing import Final

from tests.faults.check import check, check_frames
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm
from tests.faults.postgres import Postgres

NAME: Final = "clock set back"
NUM_TRIALS: Final = 10
NUM_STEPS: Final = 4800
MAX_SECONDS: Final = 1.5
HOUR_SECONDS: Final = 3600.0


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Sets it back `num_trials` times."""
    chance, harm, behind = random.Random(), Harm(), 0.0
    clock = folder / "clock"
    clock.write_text("0")
    path = f"{Path(__file__).parent / 'clock'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {
        "PYTHONPATH": path,
        "FAULTS_CLOCK": str(clock),
        # As they are by default: nobody may be called lost or left out because of a clock
        "FORESHOCK_HEARTBEAT_GRACE_SECONDS": "60",
        "FORESHOCK_RANK_GRACE_SECONDS": "30",
    }
    with Postgres() as postgres, Collector(folder, postgres.create(), **environment) as collector:
        load = Load(collector.url, make_load(num_steps), seconds=num_trials * MAX_SECONDS)
        load.start()
        for trial in range(num_trials):
            time.sleep(chance.uniform(0.02, MAX_SECONDS))
            behind += HOUR_SECONDS * chance.uniform(1, 24)
            replacement = clock.with_suffix(".new")
            replacement.write_text(str(-behind))
            replacement.replace(clock)
            if trial % 2:
                collector.kill()
                collector.start()
            harm += check_frames(collector.url, load.logs, load.acknowledged())
        load.join()
        harm += check(collector, load)
    return harm, f"by {behind / HOUR_SECONDS:.0f} hours in all"
