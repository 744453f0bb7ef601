"""A process that writes logs into spools, as probes without a collector do, and says what is on disk.

`spooling FOLDER NUM_STEPS PAUSE_SECONDS`; one line an append: run, rank, attempt and the number after its
last record.
"""

import sys
import time
from pathlib import Path

import msgspec
from tests.faults.load import Log, make_load

from foreshock.probe.spool import Spool

# Spools of so many bytes have segments of an eighth of that: a tear then meets one of several
MAX_BYTES = 2**28
SEGMENT_BYTES = 32 * 1024


def spool_folder(folder: Path, log: Log) -> Path:
    """Where a log's spool lies."""
    return folder / "runs" / log.run_id / f"rank-{log.rank}" / f"attempt-{log.attempt}"


def main(folder: Path, num_steps: int, pause_seconds: float) -> None:
    """Writes a body of each log in turn, until all is written."""
    logs = [log for logs in make_load(num_steps) for log in logs]
    spools = []
    for log in logs:
        spool = Spool(spool_folder(folder, log), max_bytes=MAX_BYTES)
        spool._segment_bytes = SEGMENT_BYTES
        declaration = spool.folder.parent.with_suffix(".json")
        declaration.write_bytes(msgspec.json.encode({**log.declaration(), "attempt": 0}))
        spools.append(spool)
    for place in range(max(len(log.parcels) for log in logs)):
        for log, spool in zip(logs, spools, strict=True):
            if place < len(log.parcels):
                spool.append(log.parcels[place].records())
                print(log.run_id, log.rank, log.attempt, spool.next_sequence, flush=True)
        time.sleep(pause_seconds)
    time.sleep(600)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
