"""`make faults`: kills, tears and starves real processes, and counts what that cost. It must be nothing."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table
from tests.benchmarks.__main__ import machine
from tests.faults import (
    clock_set_back,
    full_disk,
    hostile_network,
    killed_collector,
    killed_compactor,
    killed_postgres,
    torn_spool,
    two_collectors,
)
from tests.faults.outcome import Harm, NotHereError, Outcome

_ALL: Final = (
    killed_collector, two_collectors, killed_postgres, killed_compactor, hostile_network, full_disk,
    torn_spool, clock_set_back,
)  # fmt: skip
FAULTS: Final = {one.__name__.rpartition(".")[2]: one for one in _ALL}
RESULTS: Final = Path(__file__).parents[1] / "benchmarks" / "results" / "faults.json"


def main() -> int:
    """The exit status: 1 where anything was harmed."""
    parser = argparse.ArgumentParser(prog="make faults", description=__doc__)
    parser.add_argument("--only", action="append", choices=FAULTS, help="this fault, again for more of them")
    parser.add_argument("--trials", type=int, help="so many of each, in the place of each fault's own number")
    parser.add_argument("--json", action="store_true", help="the outcomes as JSON on stdout")
    parser.add_argument("--save", action="store_true", help=f"write them to {RESULTS.name} as well")
    said = parser.parse_args()
    told = Console(stderr=True)
    outcomes = []
    for name in said.only or FAULTS:
        fault = FAULTS[name]
        num_trials = fault.NUM_TRIALS if said.trials is None else said.trials
        folder = Path(tempfile.mkdtemp(prefix=f"foreshock-{name}-"))
        with told.status(f"{fault.NAME}, {num_trials} times"):
            outcomes.append(strike(fault, folder, num_trials, fault.NUM_STEPS))
        if outcomes[-1].is_good:
            shutil.rmtree(folder)
        else:
            told.print(f"{fault.NAME}: what is left lies in {folder}")
    as_json = json.dumps({"machine": machine(), "faults": [one.as_dict() for one in outcomes]}, indent=1)
    if said.save:
        RESULTS.write_text(as_json + "\n")
    if said.json:
        print(as_json)
    else:
        Console(width=None if sys.stdout.isatty() else 150).print(_table(outcomes))
    return 0 if all(one.is_good for one in outcomes) else 1


def strike(fault: Any, folder: Path, num_trials: int, num_steps: int) -> Outcome:
    """Lets one fault strike, and says what came of it."""
    begun, failure = time.monotonic(), None
    try:
        harm, remark = fault.strike(folder, num_trials, num_steps)
    except NotHereError as error:
        num_trials, harm, remark = 0, Harm(), f"not tried: {error}"
    except (AssertionError, httpx.HTTPError) as error:
        harm, failure = Harm(), str(error)
        remark = f"failed: {failure}"
    return Outcome(fault.NAME, num_trials, harm, time.monotonic() - begun, remark, failure)


def _table(outcomes: list[Outcome]) -> Table:
    names = ("fault", "trials", "acknowledged", "lost", "doubled", "false", "checksums", "judgements", "")
    table = Table(*names, title="Frames acknowledged, and what became of them")
    for column in table.columns[1:-1]:
        column.justify = "right"
    for one in outcomes:
        harm = one.harm
        counts = (harm.acknowledged, harm.lost, harm.doubled, harm.false, harm.checksums, harm.judgements)
        table.add_row(one.fault, str(one.num_trials), *map(str, counts), f"{one.remark}; {one.seconds:.0f} s")
    return table


if __name__ == "__main__":
    sys.exit(main())
