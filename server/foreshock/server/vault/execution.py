"""What the `foreshock db` commands do, as far as people see it: their words and exit statuses."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from foreshock.server.errors import StartError
from foreshock.server.settings import read_settings
from foreshock.server.vault.backup import back_up
from foreshock.server.vault.move import move
from foreshock.server.vault.progress import shown
from foreshock.server.vault.vacuum import vacuum
from foreshock.server.vault.verify import verify


def backup_command(address: str | None, file: Path, *, force: bool, as_json: bool) -> int:
    """The exit status: 0, or 2 where no backup was written."""

    def act() -> int:
        with shown() as tell:
            done = back_up(_database(address), file, force=force, tell=tell)
        line = f"{done.file}: {done.num_bytes:,} bytes, {done.database} at revision {done.revision}, checked"
        print(json.dumps(asdict(done)) if as_json else line)
        return 0

    return _run("backup", act)


def verify_command(address: str | None, *, as_json: bool) -> int:
    """The exit status: 0 where all is well, 1 where it is not, 2 where nothing could be read."""

    def act() -> int:
        found = []
        with shown() as tell:
            for fault in verify(_database(address), tell):
                found.append(fault)
                if not as_json:
                    print(fault.sentence, flush=True)
        if as_json:
            print(json.dumps({"faults": [asdict(fault) for fault in found]}))
        elif not found:
            print("nothing is wrong")
        return 1 if found else 0

    return _run("verify", act)


def move_command(address: str | None, target: str, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where the move has not come to its end."""

    def act() -> int:
        with shown() as tell:
            done = move(_database(address), target, tell)
        line = (
            f"{done.num_runs} runs, {done.num_rows:,} rows moved and compared: start the collector with --db "
            f"{done.target}; {done.source} is as it was"
        )
        print(json.dumps(asdict(done)) if as_json else line)
        return 0

    return _run("move", act)


def vacuum_command(address: str | None, *, as_json: bool) -> int:
    """The exit status: 0, or 2 where the database could not be had."""

    def act() -> int:
        with shown() as tell:
            done = vacuum(_database(address), tell)
        line = f"{done.database}: {done.bytes_before:,} bytes before, {done.bytes_after:,} after"
        print(json.dumps(asdict(done)) if as_json else line)
        return 0

    return _run("vacuum", act)


def _database(address: str | None) -> str:
    return read_settings(db=address).db


def _run(name: str, act: Callable[[], int]) -> int:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return act()
    except StartError as error:
        print(f"foreshock db {name}: {error.detail}", file=sys.stderr)
        return 2
