"""Receivers that behave, and receivers that do not; a real Alertmanager; alerts to tell of."""

import http.server
import json
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import sqlalchemy as sa
from tests.conftest import require

from foreshock.server.alerts.life import Transition
from foreshock.server.alerts.notifier import Notification
from foreshock.server.settings import Settings
from foreshock.server.store.alerts import write_transitions
from foreshock.wire import Alert

Behaviour = Callable[["Exchange"], None]


def transition(state: Any, step: int, opened: int = 3, **said: Any) -> Transition:
    """One change of one alert, at the second of its step after a round time."""
    named = {"rule": "exit_amax", "subject": "amax", "claim": "rule", "severity": "critical", **said}
    return Transition(
        state=state,
        opened_step=opened,
        step=step,
        time=1_700_000_000.0 + step,
        value=12.5,
        reason=f"Composite amax is 12.5 at step {step}.",
        advice="Exit.",
        **named,
    )


def make_notification(run_id: str = "a", state: Any = "firing", step: int = 8, **said: Any) -> Notification:
    """A notification as the outbox would read it."""
    named = {"rule": "exit_amax", "subject": "amax", "claim": "rule", "severity": "critical", **said}
    alert = Alert(
        number=step,
        alert_id=1,
        run_id=run_id,
        attempt=0,
        state=state,
        step=step,
        value=12.5,
        reason="Composite amax is 12.5.",
        advice="Exit.",
        time=1_700_000_000.0 + step,
        **named,
    )
    ended = alert.time if state == "resolved" else None
    key = f"{run_id} {alert.rule} {alert.subject}"
    return Notification(alert, "demo", key, 1_700_000_003.0, ended, f"http://here/runs/{run_id}")


@pytest.fixture
def notification() -> Callable[..., Notification]:
    return make_notification


@pytest.fixture
def settings(backend: str) -> Settings:
    """A collector whose own judge never gets to a turn: tests store the alerts themselves."""
    return Settings(db=backend, judge_interval_seconds=100_000)


@pytest.fixture
def engine(http: Any) -> sa.Engine:
    engine: sa.Engine = http.app.state.collector.engine
    return engine


@pytest.fixture
def store(engine: sa.Engine) -> Callable[..., Any]:
    """Stores transitions of a run for notifiers."""

    def put(run_id: str, *changes: Transition, notifiers: Sequence[str] = ("memory",)) -> Any:
        with engine.begin() as connection:
            return write_transitions(connection, run_id, "demo", 0, changes, notifiers)

    return put


@pytest.fixture
def change() -> Callable[..., Transition]:
    return transition


class Exchange(http.server.BaseHTTPRequestHandler):
    """One request at a receiver, answered as the receiver is told to."""

    protocol_version = "HTTP/1.1"
    receiver: ClassVar["Receiver"]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.receiver.requests.append((self.path, dict(self.headers), body))
        self.close_connection = True
        try:
            self.receiver.behave(self)
        except OSError:
            self.receiver.was_cut.set()

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class Receiver:
    """An HTTP server on this machine; `behave` answers each request."""

    behave: Behaviour = lambda exchange: exchange.answer(200)
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    was_cut: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def __post_init__(self) -> None:
        handler = type("Handler", (Exchange,), {"receiver": self})
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, _, body in self.requests]

    def hang(self, exchange: Exchange) -> None:
        """Takes the request and says nothing."""
        self.released.wait(60)

    def drip(self, exchange: Exchange) -> None:
        """A header that never ends, a byte now and then."""
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not self.released.wait(0.05):
            exchange.wfile.write(b"x")

    def flood(self, exchange: Exchange) -> None:
        """Ten gigabytes of complaint."""
        exchange.send_response(500)
        exchange.send_header("Content-Length", str(10 * 2**30))
        exchange.end_headers()
        for _ in range(10 * 2**10):
            exchange.wfile.write(b"y" * 2**20)

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


class MailReceiver(socketserver.ThreadingTCPServer):
    """As much SMTP as it takes to be sent a mail."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _MailHandler)
        self.mails: list[str] = []


class _MailHandler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, MailReceiver)
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline():
            verb = line.split()[0].upper() if line.split() else b""
            if verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                held = b""
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    held += part
                self.server.mails.append(held.decode())
            self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n")
            if verb == b"QUIT":
                return


@pytest.fixture
def mail_receiver() -> Iterator[MailReceiver]:
    with MailReceiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass(frozen=True)
class Certificate:
    """A server's certificate for 127.0.0.1, and the authority of its own that signed it."""

    authority: Path
    web_config: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificate":
        program = shutil.which("openssl")
        require(program is not None, "openssl")
        new = [str(program), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        signed = ["-CA", "authority.pem", "-CAkey", "authority.key", "-addext", "subjectAltName=IP:127.0.0.1"]
        for name, more in (("authority", []), ("server", signed)):
            files = ["-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}"]
            subprocess.run([*new, *files, *more], cwd=folder, check=True, capture_output=True)
        web_config = folder / "web.yml"
        web_config.write_text("tls_server_config: {cert_file: server.pem, key_file: server.key}\n")
        return cls(folder / "authority.pem", web_config)


class Alertmanager:
    """The real one, with its state in memory only: a restart forgets everything."""

    def __init__(self, folder: Path, hook: str | None, certificate: Certificate | None) -> None:
        program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        require(program is not None, "prometheus-alertmanager")
        self.program = str(program)
        self.folder = folder
        self.port = free_port()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.options = [] if certificate is None else [f"--web.config.file={certificate.web_config}"]
        trusted = True if certificate is None else ssl.create_default_context(cafile=certificate.authority)
        self.http = httpx.Client(base_url=self.url, verify=trusted)
        hooks = f"    webhook_configs: [{{url: '{hook}', max_alerts: 2}}]\n" if hook else ""
        (folder / "alertmanager.yml").write_text(
            "route: {receiver: hook, group_by: [alertname, run], group_wait: 0s, group_interval: 1s}\n"
            f"receivers:\n  - name: hook\n{hooks}"
        )
        self.times = 0
        self.start()

    def start(self) -> None:
        self.times += 1
        self.process = subprocess.Popen(
            [
                self.program,
                f"--config.file={self.folder / 'alertmanager.yml'}",
                f"--storage.path={self.folder / f'state-{self.times}'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--cluster.listen-address=",
                *self.options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(lambda: self._is_ready(), "Alertmanager is not ready")

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/-/ready").is_success
        except httpx.HTTPError:
            return False

    def alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.http.get("/api/v2/alerts").json()
        return found

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)


def wait_for(holds: Callable[[], Any], otherwise: str, seconds: float = 60) -> Any:
    """What the condition gives once it holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(otherwise)


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def start_alertmanager(tmp_path: Path) -> Iterator[Callable[..., Alertmanager]]:
    started: list[Alertmanager] = []

    def start(hook: str | None = None, certificate: Certificate | None = None) -> Alertmanager:
        folder = tmp_path / f"alertmanager-{len(started)}"
        folder.mkdir()
        started.append(Alertmanager(folder, hook, certificate))
        return started[-1]

    yield start
    for one in started:
        one.stop()
        one.http.close()
