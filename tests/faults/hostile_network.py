"""A network that repeats requests, delivers them late or long after, and loses requests and answers."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.faults.check import check
from tests.faults.collector import Collector
from tests.faults.load import Load, make_load
from tests.faults.outcome import Harm
from tests.faults.proxy import Proxy

NAME: Final = "batches doubled, reordered, delayed"
# Requests that the network tampers with, at least
NUM_TRIALS: Final = 300
NUM_STEPS: Final = 4800
MAX_DELAY_SECONDS: Final = 2.0
CHANCE: Final = 0.4


class HostileProxy(Proxy):
    """Does one of five things to some of the requests."""

    def __init__(self, ports: Sequence[int]) -> None:
        super().__init__(ports)
        self.acts: Counter[str] = Counter()
        self._chance = random.Random()

    async def deliver(self, request: bytes) -> bytes | None:
        """As a network does that is at its worst."""
        if self._chance.random() > CHANCE:
            return await super().deliver(request)
        act = self._chance.choice(("lost", "answer lost", "doubled", "late", "stale"))
        self.acts[act] += 1
        match act:
            case "lost":
                return None
            case "answer lost":
                await super().deliver(request)
                return None
            case "doubled":
                both = await asyncio.gather(super().deliver(request), super().deliver(request))
                return self._chance.choice(both)
            case "late":
                # Its sender has given up by then, and has sent it and others again
                self._send_later(request)
                return None
        self._send_later(request)
        return await super().deliver(request)

    def _send_later(self, request: bytes) -> None:
        self.note(asyncio.create_task(self._send(request, self._chance.uniform(0, MAX_DELAY_SECONDS))))

    async def _send(self, request: bytes, delay_seconds: float) -> None:
        await asyncio.sleep(delay_seconds)
        await super().deliver(request)


def strike(folder: Path, num_trials: int, num_steps: int) -> tuple[Harm, str]:
    """Delivers whole loads until at least `num_trials` requests were tampered with."""
    harm, acts = Harm(), Counter[str]()
    while acts.total() < num_trials:
        with (
            Collector(folder, str(folder / f"hostile-{acts.total()}.db")) as collector,
            HostileProxy((collector.port,)) as proxy,
        ):
            load = Load(proxy.url, make_load(num_steps), seconds=5)
            load.start()
            load.join()
            time.sleep(MAX_DELAY_SECONDS)
            harm += check(collector, load)
            acts += proxy.acts
    return harm, ", ".join(f"{count} {act}" for act, count in sorted(acts.items()))
