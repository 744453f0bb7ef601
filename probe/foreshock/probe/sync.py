"""Delivering spools without a training process: offline runs, and what an outage left behind."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec

from foreshock.probe.errors import AttachError
from foreshock.probe.faults import Faults
from foreshock.probe.sender import Collector, Consignment, DeliveryError, Sender
from foreshock.probe.settings import ProbeSettings, resolve_settings
from foreshock.probe.spool import Spool
from foreshock.wire import RunDeclaration


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What became of one rank of one run."""

    run_id: str
    rank: int
    num_records: int
    error: str | None

    @property
    def sentence(self) -> str:
        """One line for people."""
        if self.error is not None:
            return f"{self.run_id} rank {self.rank}: {self.num_records} records delivered, then: {self.error}"
        return f"{self.run_id} rank {self.rank}: {self.num_records} records delivered, nothing left"

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def sync_runs(
    run_ids: Sequence[str], *, url: str | None = None, directory: str | Path | None = None
) -> list[SyncResult]:
    """Delivers the named runs, or all, from `directory`; raises AttachError for an unknown run."""
    base = resolve_settings(
        run_id="sync", project=None, name=None, url=url, token=None, mode="online", directory=directory
    )
    runs = base.directory / "runs"
    known = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.exists() else []
    for run_id in run_ids:
        if run_id not in known:
            raise AttachError(f"there is no run {run_id!r} in {runs}; it holds {len(known)} runs")
    results = []
    for run_id in run_ids or known:
        for declaration_path in sorted((runs / run_id).glob("rank-*.json")):
            results.append(_sync_rank(base, declaration_path))
    return results


def _sync_rank(base: ProbeSettings, declaration_path: Path) -> SyncResult:
    declaration = msgspec.json.decode(declaration_path.read_bytes(), type=RunDeclaration)
    rank_folder = declaration_path.with_suffix("")
    consignments = sorted(
        (
            Consignment(Spool(folder), int(folder.name.removeprefix("attempt-")))
            for folder in rank_folder.glob("attempt-*")
        ),
        key=lambda consignment: consignment.attempt,
    )
    before = sum(c.spool.next_sequence - c.spool.acknowledged for c in consignments)
    error = None
    collector = Collector(base.url, base.token)
    try:
        for consignment in consignments:
            _deliver(collector, declaration, consignment)
    except DeliveryError as failure:
        error = str(failure)
    finally:
        collector.close()
    left = sum(c.spool.next_sequence - c.spool.acknowledged for c in consignments)
    return SyncResult(declaration.run_id, declaration.rank, before - left, error)


def _deliver(collector: Collector, declaration: RunDeclaration, consignment: Consignment) -> None:
    sender = Sender(
        collector,
        declaration,
        Faults(),
        heartbeat_seconds=0.0,
        on_alert=lambda alert: None,
        on_attempt=lambda spool, attempt: _renumber(spool, attempt),
    )
    sender.deliver_all(consignment)


def _renumber(spool: Spool, attempt: int) -> int:
    while (folder := spool.folder.with_name(f"attempt-{attempt}")).exists():
        attempt += 1
    spool.move(folder)
    return attempt
