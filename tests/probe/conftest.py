"""A small hyper-connection model whose matrices are known, and readers of what a probe has spooled."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foreshock.probe import Probe
from foreshock.probe.spool import Spool
from foreshock.wire import (
    Alert,
    AppendAnswer,
    Batch,
    Body,
    Event,
    Layout,
    Record,
    RunDeclaration,
    RunHandle,
    batch_steps,
    batch_values,
    decode_body,
    decode_record,
    is_missing,
)


class GivenMixing(nn.Module):
    """Returns the matrices [B, S, n, n] that it was given; they depend on the token and are asymmetric."""

    is_stream_mixing = True

    def __init__(self, matrices_BSnn: Tensor) -> None:
        super().__init__()
        self.matrices_BSnn = nn.Parameter(matrices_BSnn)

    def forward(self, x_BSnC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates = x_BSnC.new_ones(x_BSnC.shape[:3])
        return gates, gates, self.matrices_BSnn


class GivenModel(nn.Module):
    """An embedding, one GivenMixing a layer, and a head."""

    def __init__(self, matrices_LBSnn: Tensor, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(32, width)
        self.layers = nn.ModuleList(GivenMixing(matrices) for matrices in matrices_LBSnn)
        self.num_streams = matrices_LBSnn.shape[-1]
        self.head = nn.Linear(width, 32)

    def forward(self, tokens_BS: Tensor) -> Tensor:
        x_BSnC = self.embedding(tokens_BS).unsqueeze(2).repeat(1, 1, self.num_streams, 1)
        for layer in self.layers:
            _, _, h_res_BSnn = layer(x_BSnC)
            x_BSnC = h_res_BSnn @ x_BSnC
        return self.head(x_BSnC.sum(2))


def random_matrices(
    layers: int = 5, batch: int = 2, tokens: int = 9, streams: int = 4, seed: int = 0
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(layers, batch, tokens, streams, streams, generator=generator)
    return torch.eye(streams) + 0.4 * noise


@pytest.fixture
def make_model() -> Callable[..., GivenModel]:
    """GivenModel from matrices, random asymmetric ones unless given."""

    def make(matrices_LBSnn: Tensor | None = None, **shape: int) -> GivenModel:
        torch.manual_seed(0)
        return GivenModel(random_matrices(**shape) if matrices_LBSnn is None else matrices_LBSnn)

    return make


@pytest.fixture
def train_step() -> Callable[..., Tensor]:
    """One step of a plain loop; returns the loss."""

    def train(model: nn.Module, optimizer: torch.optim.Optimizer, *, clip: float | None = 1.0) -> Tensor:
        batch, tokens = model.layers[0].matrices_BSnn.shape[:2]  # type: ignore[union-attr,index]
        window_BS = torch.arange(batch * (tokens + 1)).reshape(batch, -1) % 32
        loss = nn.functional.cross_entropy(model(window_BS[:, :-1]).flatten(0, 1), window_BS[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        return loss.detach()

    return train


class Loop:
    """A model, its optimizer, and how to take a step."""

    def __init__(self, model: Any, train_step: Callable[..., Any]) -> None:
        self.model, self._train_step = model, train_step
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step(self, **options: Any) -> Any:
        return self._train_step(self.model, self.optimizer, **options)


@pytest.fixture
def make_loop(make_model: Callable[..., Any], train_step: Callable[..., Any]) -> Callable[[], Loop]:
    """Equal loops, one a call."""
    return lambda: Loop(make_model(), train_step)


@pytest.fixture
def loop(make_loop: Callable[[], Loop]) -> Loop:
    """One loop."""
    return make_loop()


@dataclass
class Spooled:
    """All that one attempt has recorded: series by column, events, and the raw records."""

    records: list[Record]
    series: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def events(self) -> list[Event]:
        return [record for record in self.records if isinstance(record, Event)]


def spooled(records: list[Record]) -> Spooled:
    layouts: dict[int, Layout] = {}
    result = Spooled(records)
    for record in records:
        if isinstance(record, Layout):
            layouts[record.layout_id] = record
        elif isinstance(record, Batch):
            for name, row in zip(layouts[record.layout_id].columns, batch_values(record), strict=True):
                present = ~is_missing(row)
                points = zip(batch_steps(record)[present].tolist(), row[present].tolist(), strict=True)
                result.series.setdefault(name, {}).update(points)
    return result


@pytest.fixture
def read_spool() -> Callable[..., Spooled]:
    """What an attempt of a probe has written."""

    def read(probe: Probe, attempt: int = 0) -> Spooled:
        spool = Spool(Path(probe.spool_directory) / "rank-0" / f"attempt-{attempt}")
        return spooled([decode_record(entry.data) for entry in spool.read(0, 2**40)])

    return read


class ScriptedCollector:
    """A real HTTP server that stores records as a collector must, unless `misbehave` answers instead.

    `misbehave(path, count)` returns None for normal service, or (status, body bytes).
    """

    def __init__(self) -> None:
        self.records: dict[tuple[int, int], dict[int, Record]] = {}
        self.next_sequence: dict[tuple[int, int], int] = {}
        self.declarations: list[RunDeclaration] = []
        self.bodies: list[Body] = []
        self.alerts: list[Alert] = []
        self.misbehave: Callable[[str, int], tuple[int, bytes] | None] = lambda path, count: None
        self.num_requests = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                owner.num_requests += 1
                scripted = owner.misbehave(self.path, owner.num_requests)
                status, answer = scripted if scripted is not None else owner.serve(self.path, data)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def serve(self, path: str, data: bytes) -> tuple[int, bytes]:
        if path == "/api/v1/runs":
            declaration = msgspec.json.decode(data, type=RunDeclaration)
            self.declarations.append(declaration)
            expected = self.next_sequence.setdefault((declaration.rank, declaration.attempt), 0)
            handle = RunHandle(
                run_id=declaration.run_id, attempt=declaration.attempt, next_sequence=expected, page="/"
            )
            return 200, msgspec.json.encode(handle)
        body = decode_body(data)
        self.bodies.append(body)
        key = (body.rank, body.attempt)
        for encoded in body.records:
            record = decode_record(encoded)
            expected = self.next_sequence[key]
            if record.sequence > expected:
                return 409, msgspec.json.encode(
                    {
                        "type": "/problems/sequence-gap",
                        "title": "",
                        "status": 409,
                        "expected_sequence": expected,
                    }
                )
            if record.sequence == expected:
                self.records.setdefault(key, {})[expected] = record
                self.next_sequence[key] = getattr(record, "last_sequence", expected) + 1
        unseen = [alert for alert in self.alerts if alert.number > body.last_alert]
        return 200, msgspec.json.encode(AppendAnswer(next_sequence=self.next_sequence[key], alerts=unseen))

    def stored(self, attempt: int = 0) -> Spooled:
        return spooled(list(self.records[(0, attempt)].values()))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[ScriptedCollector]:
    """A collector that does as it is told."""
    scripted = ScriptedCollector()
    yield scripted
    scripted.close()


def same_floats(left: object, right: object) -> bool:
    return np.asarray(left, np.float32).tobytes() == np.asarray(right, np.float32).tobytes()
