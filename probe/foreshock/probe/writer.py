"""The background thread that turns frames into records and makes them durable."""

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foreshock.probe.derive import StepVector
from foreshock.probe.faults import Faults
from foreshock.probe.frames import (
    Facts,
    Frame,
    FrameQueue,
    Happening,
    LogFrame,
    NewAttempt,
    NewPlan,
    SheetFrame,
    StepFrame,
)
from foreshock.probe.host import HostMeter
from foreshock.probe.layers import LayerSummary
from foreshock.probe.plan import Plan
from foreshock.probe.spool import Spool
from foreshock.probe.streams import Numbering, Stream
from foreshock.wire import Cadence, Event, Record, UnknownSignalError, parse_column

_MAX_LOG_LAYOUTS: Final = 64
_MAX_HELD_RECORDS: Final = 4096


class _Attempt:
    """The streams and the spool of one attempt."""

    def __init__(self, spool: Spool, plan: Plan) -> None:
        self.spool = spool
        self.numbering = Numbering()
        self.host: Stream | None = None
        self._last_step = self._host_step = -1
        self.open_streams(plan)
        self.logs: dict[tuple[str, ...], Stream] = {}
        self.events: list[Happening] = []
        self.held: list[Record] = []

    def open_streams(self, plan: Plan) -> None:
        """Begins the probe's own streams; what has gathered must have been taken."""
        columns: dict[Cadence, tuple[str, ...]] = {"step": plan.step_columns, **plan.slow_sheets}
        self._summaries = {} if plan.all_layers else {name: LayerSummary(columns[name]) for name in columns}
        told = {name: self._summaries[name].columns if self._summaries else columns[name] for name in columns}
        streams = {name: Stream(name, told[name], self.numbering) for name in columns}
        self.step, self.sheets = streams.pop("step"), streams

    def add(self, name: Cadence, frame: StepFrame | SheetFrame, values: NDArray[np.float32]) -> None:
        """Takes a reading of one of the probe's own streams."""
        stream = self.step if name == "step" else self.sheets[name]
        if self._summaries:
            values = self._summaries[name].of(values, frame.is_whole)
        stream.add(frame.step, frame.time, values)
        self._last_step = max(self._last_step, frame.step)

    def add_host(self, meter: HostMeter) -> None:
        """Reads the host, if it is time, as of the last step; once a step at most."""
        if self._last_step < 0 or self._last_step == self._host_step:
            return
        row = meter.read()
        if row is None:
            return
        if self.host is None:
            self.host = Stream("host", meter.columns, self.numbering)
        self.host.add(self._last_step, time.time(), row)
        self._host_step = self._last_step

    def take_records(self) -> list[Record]:
        """Slow streams first, the step stream last.

        Whoever has stored the batch that holds step s of the step stream has therefore stored all
        other frames of step s: this is what the collector's watermark rests on.
        """
        records: list[Record] = []
        hosts = () if self.host is None else (self.host,)
        for stream in (*self.logs.values(), *hosts, *self.sheets.values()):
            records += stream.take_records()
        records += self.step.take_records()
        for event in self.events:
            records.append(Event(self.numbering.sequence(), event.step, event.time, event.kind, event.detail))
        self.events = []
        return records


class Writer:
    """Drains the queue every `flush_seconds`, or when asked to, and appends to the spool."""

    def __init__(
        self,
        queue: FrameQueue,
        plan: Plan,
        vector: StepVector,
        open_spool: Callable[[], Spool],
        faults: Faults,
        *,
        flush_seconds: float,
        on_written: Callable[[], None],
        on_facts: Callable[[Facts], None],
    ) -> None:
        self._queue, self._plan, self._vector, self._faults = queue, plan, vector, faults
        self._open_spool = open_spool
        self._flush_seconds = flush_seconds
        self._on_written = on_written
        self._on_facts = on_facts
        self._attempt = _Attempt(open_spool(), plan)
        self._host = HostMeter()
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="foreshock-writer", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Writes what is left and ends the thread, waiting at most `timeout` seconds."""
        self._stopped = True
        self._wake.set()
        self._thread.join(timeout)
        if not self._thread.is_alive():
            self._attempt.spool.close()

    def wake(self) -> None:
        """Asks for a flush before its time."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(self._flush_seconds)
            self._wake.clear()
            stopping = self._stopped
            try:
                self._flush()
            except Exception as error:
                self._faults.count("writing to the spool", error)
            if stopping:
                return

    def _flush(self) -> None:
        for frame in self._queue.drain():
            try:
                self._take(frame)
            except Exception as error:
                self._faults.count("packing a frame", error)
        try:
            self._attempt.add_host(self._host)
        except Exception as error:
            self._faults.count("reading the host", error)
        self._write()

    def _take(self, frame: Frame) -> None:
        attempt = self._attempt
        match frame:
            case StepFrame():
                attempt.add("step", frame, self._vector.complete(frame))
            case SheetFrame():
                attempt.add(frame.cadence, frame, frame.row.wait())
            case LogFrame():
                self._take_log(frame)
            case Happening():
                attempt.events.append(frame)
            case Facts():
                self._on_facts(frame)
            case NewAttempt():
                self._begin_attempt(frame)
            case NewPlan():
                self._begin_plan(frame.plan)

    def _take_log(self, frame: LogFrame) -> None:
        attempt, names = self._attempt, tuple(frame.values)
        stream = attempt.logs.get(names)
        if stream is None:
            if len(attempt.logs) >= _MAX_LOG_LAYOUTS:
                self._faults.tell(
                    "log layouts",
                    f"probe.log was called with more than {_MAX_LOG_LAYOUTS} different sets of names: "
                    "the newest set is not recorded; log the same names each time",
                )
                return
            for name in names:
                _check_name(name)
            stream = Stream(f"log-{len(attempt.logs)}", names, attempt.numbering)
            attempt.logs[names] = stream
        stream.add(frame.step, frame.time, _numbers(frame.values))

    def _begin_attempt(self, frame: NewAttempt) -> None:
        self._write()
        old = self._attempt
        old.events.append(Happening(frame.step, frame.time, "rollback", {"back_to_step": frame.step}))
        self._write()
        old.spool.close()
        self._attempt = _Attempt(self._open_spool(), self._plan)
        self._vector.restart()

    def _begin_plan(self, plan: Plan) -> None:
        self._write()
        self._plan, self._vector = plan, StepVector(plan)
        self._attempt.open_streams(plan)

    def _write(self) -> None:
        """Appends what has gathered; where the disk refuses, holds a bounded number for the next try."""
        attempt = self._attempt
        records = attempt.held + attempt.take_records()
        if not records:
            return
        try:
            attempt.spool.append(records)
            attempt.held = []
        except OSError as error:
            attempt.held = records[:_MAX_HELD_RECORDS]
            self._faults.count("writing to the spool", error)
            return
        self._on_written()


def _check_name(name: str) -> None:
    if parse_column(name).signal is not None:
        raise UnknownSignalError(f"{name!r} is a signal of the catalogue: log it under another name")


def _numbers(values: dict[str, Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        try:
            wide = np.fromiter(values.values(), np.float64, len(values))
        except OverflowError:
            wide = np.array([_wide(value) for value in values.values()])
        return wide.astype(np.float32)


def _wide(value: Any) -> float:
    """As float64; a whole number beyond its range is infinite, as any number beyond float32's is."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def attempt_folder(run_directory: Path, rank: int, attempt: int) -> Path:
    """Where the spool of an attempt lies."""
    return run_directory / f"rank-{rank}" / f"attempt-{attempt}"
