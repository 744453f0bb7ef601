"""Everything behind the queue: the writer, the spool, and in online mode the sender."""

import json
from collections import deque

import msgspec

from foreshock.probe.derive import StepVector
from foreshock.probe.faults import Faults
from foreshock.probe.frames import Facts, FrameQueue
from foreshock.probe.plan import Plan
from foreshock.probe.sender import Collector, Sender
from foreshock.probe.settings import ProbeSettings
from foreshock.probe.spool import Spool
from foreshock.probe.writer import Writer, attempt_folder
from foreshock.wire import Alert, RunDeclaration

_MAX_UNSEEN_ALERTS = 1024
_WRITE_SECONDS = 5.0


class Delivery:
    """Takes frames from the queue to the spool and the collector, on threads of its own."""

    def __init__(
        self,
        settings: ProbeSettings,
        declaration: RunDeclaration,
        plan: Plan,
        vector: StepVector,
        faults: Faults,
    ) -> None:
        self.settings = settings
        self.queue = FrameQueue(settings.max_queued_frames)
        self.wake_at_frames = settings.max_queued_frames // 8
        self.alerts: deque[Alert] = deque(maxlen=_MAX_UNSEEN_ALERTS)
        self._faults, self._rank = faults, declaration.rank
        self._declaration = declaration
        self._next_attempt = declaration.attempt
        self._spools: list[Spool] = []
        self._sender: Sender | None = None
        write_declaration(settings, declaration)
        if settings.mode == "online":
            self._sender = Sender(
                Collector(settings.url, settings.token),
                declaration,
                faults,
                heartbeat_seconds=settings.heartbeat_seconds,
                on_alert=self.alerts.append,
                on_attempt=self._take_attempt,
            )
            self._add_earlier_attempts(declaration.attempt)
        self._writer = Writer(
            self.queue,
            plan,
            vector,
            self._open_spool,
            faults,
            flush_seconds=settings.flush_seconds,
            on_written=self._sender.wake if self._sender is not None else lambda: None,
            on_facts=self._amend,
        )
        self._writer.start()
        if self._sender is not None:
            self._sender.start()

    @property
    def num_dropped_frames(self) -> int:
        """Frames that never reached, or had to leave, the spool."""
        return self.queue.num_dropped + sum(spool.lost_frames for spool in self._spools)

    def wake(self) -> None:
        """Asks the writer not to wait for its time."""
        self._writer.wake()

    def finish(self) -> None:
        """Writes the rest, gives the sender its time, and says what stays in the spool."""
        self._writer.stop(_WRITE_SECONDS)
        if self._sender is None:
            return
        if not self._sender.stop(self.settings.finish_seconds):
            why = f" ({self._sender.refusal}; mend that first)" if self._sender.refusal else ""
            self._faults.tell(
                "undelivered",
                f"not all of run {self.settings.run_id} has reached {self.settings.url}: the rest waits in "
                f"{self.settings.run_directory}{why}; deliver it with: foreshock sync --url "
                f"{self.settings.url} --directory {self.settings.directory} {self.settings.run_id}",
            )

    def _amend(self, facts: Facts) -> None:
        """Declares the run again with what training has shown; what the user said goes before."""
        config = facts.config | self._declaration.config
        self._declaration = msgspec.structs.replace(self._declaration, config=config)
        write_declaration(self.settings, self._declaration)
        if self._sender is not None:
            self._sender.declare(self._declaration)

    def _open_spool(self) -> Spool:
        attempt = self._next_attempt
        folder = attempt_folder(self.settings.run_directory, self._rank, attempt)
        spool = Spool(folder, max_bytes=self.settings.spool_max_bytes)
        self._next_attempt += 1
        self._spools.append(spool)
        if self._sender is not None:
            self._sender.add(spool, attempt)
        return spool

    def _take_attempt(self, spool: Spool, attempt: int) -> int:
        """Moves a spool to the attempt number that the collector says is free; later ones follow."""
        while attempt_folder(self.settings.run_directory, self._rank, attempt).exists():
            attempt += 1
        spool.move(attempt_folder(self.settings.run_directory, self._rank, attempt))
        self._next_attempt = max(self._next_attempt, attempt + 1)
        return attempt

    def _add_earlier_attempts(self, current: int) -> None:
        """What a crashed process of this run left behind goes first."""
        assert self._sender is not None
        for attempt in range(current):
            folder = attempt_folder(self.settings.run_directory, self._rank, attempt)
            if folder.exists():
                self._sender.add(Spool(folder, max_bytes=self.settings.spool_max_bytes), attempt)


def write_declaration(settings: ProbeSettings, declaration: RunDeclaration) -> None:
    """Leaves the declaration beside the spool, for a later `foreshock sync`."""
    settings.run_directory.mkdir(parents=True, exist_ok=True)
    path = settings.run_directory / f"rank-{declaration.rank}.json"
    path.write_text(json.dumps(msgspec.to_builtins(declaration), indent=1))
