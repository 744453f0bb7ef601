"""A database with some of everything in it."""

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import HERE, Writer

from foreshock.server.app import create_app
from foreshock.server.settings import Settings
from foreshock.server.store.acknowledgements import acknowledge
from foreshock.server.store.compactor import Compactor
from foreshock.server.store.engine import writing
from foreshock.server.store.schema import projects, tokens
from foreshock.server.store.silences import NewSilence, create_silence
from foreshock.wire import MISSING

COLUMNS = ("loss", "gradient_norm", *(f"stream_rms[{layer}]" for layer in range(11)))


def odd_values(rng: np.random.Generator, num_steps: int) -> Any:
    """Noise with everything in it that is no plain number."""
    values = np.exp(rng.standard_normal((num_steps, len(COLUMNS)))).astype(np.float32)
    odd = rng.random(values.shape)
    for end, value in ((0.02, np.nan), (0.04, np.inf), (0.06, -np.inf), (0.2, MISSING), (0.22, -0.0)):
        values[(end - 0.02 < odd) & (odd < end)] = value
    # Few alerts: each is a notification
    values[:, :2] = np.where(np.arange(num_steps)[:, None] == num_steps // 2, np.nan, 3.0)
    return values


def fill(address: str, num_runs: int = 2) -> None:
    """Runs with alerts, chunks and a log, of two ranks and attempts, one of them ended."""
    rng = np.random.default_rng(0)
    with TestClient(create_app(Settings(db=address)), base_url=HERE) as http:
        collector = http.app.state.collector
        collector.judge.stop()
        collector.compactor.stop()
        collector.judge._stop.clear()
        for number in range(num_runs):
            said = {"config": {"learning_rate": 0.003, "NaN": "NaN", "ü": [1, None]}, "tags": ["a", "b"]}
            for rank in range(2):
                writer = Writer(http, f"run-{number}", rank=rank, session=f"s{number}-{rank}")
                writer.start(*COLUMNS, **said)
                writer.send(writer.tombstone(3, 4), writer.event("schedule", 0, learning_rate=0.1))
                for start in range(0, 1400, 350):
                    steps = range(start, start + 350)
                    writer.send(writer.batch(steps, odd_values(rng, 350)))
            again = Writer(http, f"run-{number}", attempt=1, session="again").start(*COLUMNS, **said)
            again.send(again.batch(range(10), odd_values(rng, 10)))
            again.send(again.batch(range(10, 100), odd_values(rng, 90)))
            if number == 0:
                again.send(again.event("finished", 99))
        for _ in range(8):
            collector.judge._due.clear()
            collector.judge.turn()
        assert Compactor(collector.engine).run_once() >= 4
        with writing(collector.engine) as connection:
            connection.execute(sa.insert(projects).values(project="demo", keep_days=1.5, keep_bytes=2**40))
            token = {"token_id": "t", "name": "n", "digest": "d", "scopes": "read", "created_at": 0.1}
            connection.execute(sa.insert(tokens).values(token))
        acknowledge(collector.engine, "run-0", 1, "mira", "ü")
        matchers = [{"name": "run", "operator": "=~", "value": "nobody"}]
        said = {"matchers": matchers, "author": "mira", "comment": "ü", "duration_seconds": 1e6}
        create_silence(collector.engine, NewSilence.model_validate(said))


@pytest.fixture
def filled(backend: str) -> str:
    """The address of a database with some of everything in it, which nobody serves."""
    fill(backend)
    return backend
