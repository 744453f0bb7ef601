"""What the probes of a few runs send, fixed beforehand down to the bit, and threads that deliver it.

The runs are such that rules fire: gains that rise past 10 until everything is NaN, spikes of the loss, a
rank that fails alone, an attempt that is begun anew. Steps, times, values and the cuts between bodies
come from a seed, so that a collector without faults can be fed the very same afterwards.
"""

import functools
import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx
import numpy as np
from numpy.typing import NDArray

from foreshock.wire import (
    CONTENT_TYPE,
    MISSING,
    WIRE_VERSION,
    Body,
    Event,
    Layout,
    Record,
    decode_body,
    decode_record,
    encode_body,
    encode_record,
    make_batch,
)

NUM_LAYERS: Final = 3
# A slower stream has a frame every so many steps
SLOW_STRIDE: Final = 2
MAX_BODY_STEPS: Final = 60
# Equal records for every trial and its replay, whenever the suite runs; later than any collector's clock,
# which therefore takes them for frames of now
FIRST_TIME: Final = 4.1e9

StepArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Stream:
    """Everything that is sent of one layout: steps and times [k], values float32 [k, columns]."""

    layout: Layout
    steps: StepArray
    times: NDArray[np.float64]
    values: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One encoded body, the number after its last record, and the frames by layout once it is stored."""

    data: bytes
    next_sequence: int
    frames: dict[int, int]

    def records(self) -> list[Record]:
        """What is in it."""
        return [decode_record(data) for data in decode_body(self.data).records]


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """All that one rank sends in one attempt of one run."""

    run_id: str
    rank: int
    attempt: int
    total_steps: int
    streams: dict[int, Stream]
    parcels: tuple[Parcel, ...]

    @property
    def session(self) -> str:
        """Who writes it."""
        return f"{self.run_id}-{self.rank}-{self.attempt}"

    def declaration(self) -> dict[str, Any]:
        """What is posted before the first parcel, and again after every reconnect."""
        return {
            "run_id": self.run_id,
            "project": "faults",
            "name": self.run_id,
            "rank": self.rank,
            "attempt": self.attempt,
            "session": self.session,
            "total_steps": self.total_steps,
            "config": {"connection": "hc"},
        }

    def frames_before(self, sequence: int) -> dict[int, int]:
        """Frames by layout in the records before `sequence`."""
        whole = [parcel.frames for parcel in self.parcels if parcel.next_sequence <= sequence]
        return whole[-1] if whole else dict.fromkeys(self.streams, 0)

    @property
    def num_frames(self) -> int:
        """Frames of all layouts."""
        return sum(len(stream.steps) for stream in self.streams.values())


@functools.cache
def make_load(num_steps: int, seed: int = 0) -> tuple[tuple[Log, ...], ...]:
    """Logs by writer: each writer delivers its own one after the other."""
    half = num_steps // 2
    ranks = [_make_log("ranks", rank, 0, range(half), half, seed) for rank in (0, 1)]
    torn = _make_log("restarted", 0, 0, range(num_steps // 3), half, seed)
    again = _make_log("restarted", 0, 1, range(num_steps // 3 - 100, half), half, seed)
    dying = _make_log("dying", 0, 0, range(num_steps), num_steps, seed)
    spiking = _make_log("spiking", 0, 0, range(num_steps), num_steps, seed)
    return (dying,), (spiking,), (ranks[0],), (ranks[1],), (torn, again)


def _make_log(run_id: str, rank: int, attempt: int, span: range, total_steps: int, seed: int) -> Log:
    rng = np.random.default_rng([seed, rank, attempt, *run_id.encode()])
    steps = np.array(span)
    signals = _signals(run_id, rank, steps, total_steps, rng)
    slow = steps % SLOW_STRIDE == 0
    is_slow = [name.startswith("composite") for name in signals]
    streams = {}
    for number, (name, of_stream) in enumerate((("step", False), ("composite", True))):
        columns = [one for one, its in zip(signals, is_slow, strict=True) if its == of_stream]
        kept = slow if of_stream else np.ones(len(steps), bool)
        values = np.stack([signals[one] for one in columns], axis=1)[kept]
        times = FIRST_TIME + 0.25 * steps[kept] + attempt * 10_000
        if run_id == "spiking":  # its clock is set back by a day
            times[steps[kept] > total_steps // 2] -= 86_400
        streams[number] = Stream(Layout(number, number, name, tuple(columns)), steps[kept], times, values)
    log = Log(run_id, rank, attempt, total_steps, streams, ())
    return replace(log, parcels=tuple(_parcels(log, rng)))


def _signals(
    run_id: str, rank: int, steps: StepArray, total_steps: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    size, death = len(steps), int(0.8 * total_steps)
    noise = rng.standard_normal((3 + 4 * NUM_LAYERS, size))
    loss = 2.5 + 3 * np.exp(-steps / 400) + 0.04 * noise[0]
    gain = np.full(size, 0.1)
    if run_id == "dying":
        gain = np.clip(10 * (steps / total_steps - 0.4), 0.02, None)
    if run_id in ("spiking", "restarted"):
        loss[(steps % 700 > 500) & (steps % 700 < 530)] += 1.0
    found = {"loss": loss, "grad_norm": np.exp(0.2 * noise[1]), "headroom_bits": 13.7 - gain / np.log(2)}
    for layer in range(NUM_LAYERS):
        for way, row in (("forward", 3 + layer), ("backward", 3 + NUM_LAYERS + layer)):
            found[f"layer_amax_{way}_mean[{layer}]"] = np.exp(gain / NUM_LAYERS + 0.01 * noise[row])
            depth = (layer + 1) / NUM_LAYERS
            of_slow = noise[row + 2 * NUM_LAYERS]
            found[f"composite_amax_{way}_mean[{layer}]"] = np.exp(depth * gain + 0.01 * of_slow)
    signals = {name: np.asarray(values, np.float32) for name, values in found.items()}
    if run_id == "dying":
        for values in signals.values():
            values[steps >= death] = np.nan
    if run_id == "ranks" and rank == 1:
        signals["loss"][(steps >= death) & (steps < death + 20)] = np.nan
    signals["odd"] = _odd_values(size, rng)
    return signals


def _odd_values(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Values that are hard to keep: every NaN with its payload, both infinities, -0, nothing at all."""
    odd = np.array([0x7F800001, 0xFFC00123, 0x7F800000, 0xFF800000, 0x80000000, 1], np.uint32)
    values = rng.standard_normal(size).astype(np.float32)
    is_odd = rng.random(size) < 0.1
    values[is_odd] = rng.choice(odd, int(is_odd.sum())).view(np.float32)
    values[rng.random(size) < 0.3] = MISSING
    return values


def _parcels(log: Log, rng: np.random.Generator) -> list[Parcel]:
    """Bodies of a random number of steps; a slower stream goes before the steps that it belongs to."""
    step = log.streams[0].steps
    edges = [0, *np.cumsum(rng.integers(1, MAX_BODY_STEPS, len(step))).tolist()]
    edges = [edge for edge in edges if edge < len(step)] + [len(step)]
    parcels = [_parcel(log, [stream.layout for stream in log.streams.values()], dict.fromkeys((0, 1), 0))]
    for start, stop in itertools.pairwise(edges):
        number, frames = parcels[-1].next_sequence, dict(parcels[-1].frames)
        records: list[Record] = []
        for layout_id in (1, 0):
            stream = log.streams[layout_id]
            end = int(np.searchsorted(stream.steps, step[stop - 1], "right"))
            here = slice(frames[layout_id], end)
            if here.start < end:
                batch = stream.steps[here], stream.times[here], stream.values[here]
                records.append(make_batch(number + len(records), layout_id, *batch))
                frames[layout_id] = end
        if start == edges[len(edges) // 2]:
            change = {"learning_rate": 0.001}
            records.append(Event(number + len(records), int(step[start]), FIRST_TIME, "schedule", change))
        if step[stop - 1] == log.total_steps - 1:
            records.append(Event(number + len(records), int(step[-1]), FIRST_TIME, "finished", {}))
        parcels.append(_parcel(log, records, frames))
    return parcels


def _parcel(log: Log, records: Sequence[Record], frames: dict[int, int]) -> Parcel:
    encoded = [encode_record(record) for record in records]
    body = Body(WIRE_VERSION, log.run_id, log.rank, log.attempt, log.session, 0, encoded)
    return Parcel(encode_body(body), records[-1].sequence + 1, frames)


class Writer(threading.Thread):
    """Delivers logs as a probe does: what was not acknowledged is sent again, for as long as it takes."""

    def __init__(self, url: str, logs: Sequence[Log], pause_seconds: float) -> None:
        super().__init__(daemon=True)
        self._logs = logs
        self._pause_seconds = pause_seconds
        self._client = httpx.Client(base_url=url, timeout=20, trust_env=False)
        # By (run, rank, attempt): the number after the last record that was acknowledged
        self.acknowledged: dict[tuple[str, int, int], int] = {}
        self.num_tries_again = 0
        # Answers 507 that say when to come again: the disk was full
        self.num_full = 0
        # Records that were acknowledged and then asked for once more
        self.num_forgotten = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        """Delivers everything."""
        try:
            for log in self._logs:
                self._deliver(log)
        except BaseException as error:
            self.error = error
        finally:
            self._client.close()

    def _deliver(self, log: Log) -> None:
        key = log.run_id, log.rank, log.attempt
        self.acknowledged[key] = 0
        place, is_declared = 0, False
        while place < len(log.parcels):
            if not is_declared:
                told = self._post("/api/v1/runs", json=log.declaration())
                is_declared = told is not None and told.status_code == 200
                continue
            content = log.parcels[place].data
            headers = {"Content-Type": CONTENT_TYPE}
            told = self._post(f"/api/v1/runs/{log.run_id}/append", content=content, headers=headers)
            if told is None:
                continue
            expected = told.json()["next_sequence" if told.status_code == 200 else "expected_sequence"]
            self.num_forgotten += max(0, self.acknowledged[key] - expected)
            self.acknowledged[key] = max(expected, self.acknowledged[key])
            place = sum(parcel.next_sequence <= expected for parcel in log.parcels)
            time.sleep(self._pause_seconds)

    def _post(self, path: str, **request: Any) -> httpx.Response | None:
        """The answer, None where the same must be sent again."""
        try:
            told = self._client.post(path, **request)
        except httpx.TransportError:
            told = None
        if told is not None and (told.status_code == 200 or "expected_sequence" in told.text):
            return told
        if told is not None and told.status_code not in (429, 502, 503, 507):
            raise AssertionError(f"{path} was answered with {told.status_code}: {told.text}")
        if told is not None and told.status_code == 507:
            self.num_full += "retry-after" in told.headers
        self.num_tries_again += 1
        time.sleep(0.05)
        return None


class Load:
    """All writers of a load, at one address."""

    def __init__(self, url: str, of_writers: Sequence[Sequence[Log]], seconds: float) -> None:
        """`seconds`: about how long the longest writer shall take, so that faults find it at work."""
        longest = max(sum(len(log.parcels) for log in logs) for logs in of_writers)
        self.logs = tuple(itertools.chain.from_iterable(of_writers))
        self.writers = [Writer(url, logs, seconds / longest) for logs in of_writers]

    def start(self) -> None:
        """Starts the writers."""
        for writer in self.writers:
            writer.start()

    @property
    def is_running(self) -> bool:
        """Whether anything is still to be delivered."""
        return any(writer.is_alive() for writer in self.writers)

    def join(self, limit_seconds: float = 180.0) -> None:
        """Waits until everything is delivered; raises what a writer has met, or that it takes too long."""
        deadline = time.monotonic() + limit_seconds
        for writer in self.writers:
            writer.join(max(0.0, deadline - time.monotonic()))
            if writer.error is not None:
                raise writer.error
            if writer.is_alive():
                raise AssertionError(f"not everything is delivered after {limit_seconds:.0f} seconds")

    def acknowledged(self) -> dict[tuple[str, int, int], int]:
        """By (run, rank, attempt), as it is now."""
        found: dict[tuple[str, int, int], int] = {}
        for writer in self.writers:
            found |= dict(writer.acknowledged)
        return found

    @property
    def num_tries_again(self) -> int:
        """Requests that met with no answer, or were told to come again."""
        return sum(writer.num_tries_again for writer in self.writers)

    @property
    def num_full(self) -> int:
        """Answers that the disk is full, and when to come again."""
        return sum(writer.num_full for writer in self.writers)

    @property
    def num_forgotten(self) -> int:
        """Records that were acknowledged and then asked for once more."""
        return sum(writer.num_forgotten for writer in self.writers)
