"""Spools whose writer was killed, and whose tail is then cut off or altered at any byte; `foreshock sync`.

Every record that is whole must arrive, once, also those that lie behind the tear; in the place of what is
torn between them stands a tombstone.
"""

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa
from tests.faults.check import check_due, check_storage, open_engine
from tests.faults.collector import Collector
from tests.faults.load import Log, make_load
from tests.faults.outcome import Harm
from tests.faults.spooling import spool_folder

from foreshock.server.store.schema import cursors
from foreshock.wire import Batch, batch_steps

NAME: Final = "spool torn"
NUM_TRIALS: Final = 24
NUM_STEPS: Final = 4800
MAX_SECONDS: Final = 2.0
SYNC_SECONDS: Final = 60.0

# Of each record in a segment: length, CRC, first and last sequence number
_HEADER: Final = struct.Struct("<IIqq")

Due = dict[int, np.ndarray[tuple[int], np.dtype[np.int64]]]


@dataclass(frozen=True, slots=True)
class Whole:
    """A record in a segment: its number, and where its bytes end."""

    sequence: int
    end: int


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Tears `num_trials` spools, all those of a killed writer at a time."""
    chance, harm, num_torn, num_lost = random.Random(), Harm(), 0, 0
    logs = [log for logs in make_load(num_steps) for log in logs]
    while num_torn < num_trials:
        spools = folder / f"spools-{num_torn}"
        _write(spools, num_steps, chance)
        torn = [log for log in logs if spool_folder(spools, log).exists()][: num_trials - num_torn]
        due = {log: _tear(spool_folder(spools, log), log, chance) for log in torn}
        for log in set(logs) - set(torn):
            shutil.rmtree(spool_folder(spools, log), ignore_errors=True)
        database = str(folder / f"torn-{num_torn}.db")
        with Collector(folder, database) as collector:
            _sync(spools, collector.url)
            for log, of_log in due.items():
                harm += check_due(collector.url, log, of_log)
            with open_engine(database) as engine:
                harm += check_storage(engine)
                with engine.connect() as connection:
                    num_lost += connection.execute(
                        sa.select(sa.func.sum(cursors.c.lost_records))
                    ).scalar_one()
        num_torn += len(torn)
    return harm, f"{num_lost} torn records have a tombstone"


def _num_tombstoned(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        query = sa.select(sa.func.coalesce(sa.func.sum(cursors.c.lost_records), 0))
        return int(connection.execute(query).scalar_one())


def _write(spools: Path, num_steps: int, chance: random.Random) -> None:
    """Lets a process write spools, and kills it."""
    spools.mkdir()
    command = [sys.executable, "-m", "tests.faults.spooling", str(spools), str(num_steps), "0.002"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(chance.uniform(0.1, MAX_SECONDS))
        process.send_signal(signal.SIGKILL)


def _tear(spool: Path, log: Log, chance: random.Random) -> Due:
    """Cuts or alters one of the last two segments; the steps by layout that are still whole after that."""
    segments = sorted(spool.glob("segment-*.log"))
    torn = chance.choice(segments[-2:])
    place = chance.randrange(torn.stat().st_size)
    whole = [
        one.sequence for segment in segments for one in _scan(segment) if segment != torn or one.end <= place
    ]
    if chance.random() < 0.5:
        os.truncate(torn, place)
    else:
        data = bytearray(torn.read_bytes())
        data[place] ^= 1 << chance.randrange(8)
        torn.write_bytes(data)
    records = {record.sequence: record for parcel in log.parcels for record in parcel.records()}
    batches = [record for number in whole if isinstance(record := records[number], Batch)]
    return {
        layout_id: np.concatenate(
            [np.zeros(0, np.int64), *(batch_steps(one) for one in batches if one.layout_id == layout_id)]
        )
        for layout_id in log.streams
    }


def _scan(segment: Path) -> list[Whole]:
    data, found, place = segment.read_bytes(), [], 0
    while place + _HEADER.size <= len(data):
        length, _, sequence, _ = _HEADER.unpack_from(data, place)
        place += _HEADER.size + length
        if place <= len(data):
            found.append(Whole(sequence, place))
    return found


def _sync(spools: Path, url: str) -> None:
    command = [sys.executable, "-m", "foreshock.cli", "sync", "--url", url, "--directory", str(spools)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=SYNC_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"foreshock sync does not end; spools in {spools}") from error
    if told.returncode or ", then:" in told.stdout:
        raise AssertionError(f"foreshock sync: {told.stdout}{told.stderr}")
