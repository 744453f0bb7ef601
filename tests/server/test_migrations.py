"""Databases of every released revision, with data in place, are brought up and go on.

`golden/revision_0001.db.gz` was written by the collector of that revision (commit 87f71a9): a run that
ended, of two ranks and attempts, and one that goes on and was judged in part.
"""

import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from starlette.testclient import TestClient
from tests.server.conftest import HERE, Writer

from foreshock.server.app import create_app
from foreshock.server.settings import Settings
from foreshock.server.store.compactor import Compactor
from foreshock.server.store.engine import open_database, reading
from foreshock.server.store.schema import (
    acknowledgements,
    alert_transitions,
    alerts,
    detector_states,
    metadata,
    records,
)
from foreshock.server.store.upgrade import migration_config
from foreshock.server.vault.verify import verify
from foreshock.wire import Batch, Event, Layout, batch_steps, batch_values, decode_record

GOLDEN = Path(__file__).parent / "golden" / "revision_0001.db.gz"
REVISIONS = [one.revision for one in ScriptDirectory.from_config(migration_config()).walk_revisions()][::-1]
# As the catalogue says
ACROSS_RANKS: dict[str, Any] = {"loss": np.mean, "stream_rms[1]": np.max}
everywhere = pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@pytest.fixture
def golden(tmp_path: Path) -> Iterator[sa.Engine]:
    """The file as the collector of revision 0001 left it."""
    path = tmp_path / "golden.db"
    path.write_bytes(gzip.decompress(GOLDEN.read_bytes()))
    engine = sa.create_engine(f"sqlite:///{path}")
    yield engine
    engine.dispose()


@pytest.fixture
def old(golden: sa.Engine, backend: str, request: pytest.FixtureRequest) -> str:
    """The address of a database at the revision asked for, with the golden file's rows."""
    address = backend if "://" in backend else f"sqlite:///{backend}"
    engine = sa.create_engine(address)
    migrate(engine, "0001")
    ours, theirs = sa.MetaData(), sa.MetaData()
    ours.reflect(golden)
    theirs.reflect(engine)
    assert ours.tables.keys() == theirs.tables.keys()
    with golden.connect() as source, engine.begin() as target:
        for name, table in ours.tables.items():
            if name != "alembic_version":
                target.execute(
                    sa.insert(theirs.tables[name]),
                    [dict(row) for row in source.execute(sa.select(table)).mappings()],
                )
    migrate(engine, request.param)
    engine.dispose()
    return backend


def migrate(engine: sa.Engine, revision: str) -> None:
    config = migration_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture
def served(old: str) -> Iterator[TestClient]:
    """A collector on it, whose judge and compactor move when the test says so."""
    with TestClient(create_app(Settings(db=old)), base_url=HERE) as client:
        client.app.state.collector.judge.stop()
        client.app.state.collector.compactor.stop()
        client.app.state.collector.judge._stop.clear()
        yield client


def sent(golden: sa.Engine) -> dict[str, Any]:
    """What the golden log says, decoded by the wire alone: values by attempt, column and step; events."""
    rows = sa.text("SELECT run_id, rank, attempt, body FROM records ORDER BY run_id, rank, attempt, sequence")
    layouts: dict[Any, tuple[str, ...]] = {}
    values: dict[Any, dict[int, float]] = {}
    events: list[tuple[Any, ...]] = []
    with golden.connect() as connection:
        for run_id, rank, attempt, body in connection.execute(rows):
            record = decode_record(body)
            if isinstance(record, Layout):
                layouts[run_id, rank, attempt, record.layout_id] = record.columns
            elif isinstance(record, Batch):
                columns = layouts[run_id, rank, attempt, record.layout_id]
                for column, row in zip(columns, batch_values(record), strict=True):
                    steps = batch_steps(record).tolist()
                    told = dict(zip(steps, row.astype(float).tolist(), strict=True))
                    values.setdefault((run_id, attempt, column, rank), {}).update(told)
            elif isinstance(record, Event):
                events.append((run_id, rank, attempt, record.step, record.kind, record.detail))
    return {"values": values, "events": sorted(events, key=repr)}


def told(http: TestClient) -> dict[str, Any]:
    """The same as the collector answers it; of values those of attempts and columns of one rank."""
    values: dict[Any, dict[int, float]] = {}
    events: list[tuple[Any, ...]] = []
    for run in http.get("/api/v1/runs").json()["runs"]:
        run_id = run["run_id"]
        for attempt in http.get(f"/api/v1/runs/{run_id}").json()["attempts"]:
            asked = {"attempt": attempt, "buckets": 5000, "column": list(ACROSS_RANKS)}
            for series in http.get(f"/api/v1/runs/{run_id}/series", params=asked).json()["series"]:
                assert set(series["count"]) == {1}
                numbers = map(float, series["mean"])
                values[run_id, attempt, series["column"]] = dict(
                    zip(series["first_step"], numbers, strict=True)
                )
        for one in http.get(f"/api/v1/runs/{run_id}/events").json()["events"]:
            events.append((run_id, one["rank"], one["attempt"], one["step"], one["kind"], one["detail"]))
    return {"values": values, "events": sorted(events, key=repr)}


def check_readings(http: TestClient, expected: dict[str, Any]) -> None:
    found = told(http)
    assert found["events"] == expected["events"]
    assert set(found["values"]) == {
        (run, attempt, column)
        for run, attempt in (("ended", 0), ("ended", 1), ("going", 0))
        for column in ACROSS_RANKS
    }
    for key, series in found["values"].items():
        of_ranks = [expected["values"][(*key, rank)] for rank in (0, 1) if (*key, rank) in expected["values"]]
        assert list(series) == sorted(of_ranks[0])
        wanted = ACROSS_RANKS[key[2]]([[one[step] for step in series] for one in of_ranks], axis=0)
        np.testing.assert_allclose(list(series.values()), wanted, rtol=1e-6)


@everywhere
@pytest.mark.parametrize("old", REVISIONS, indirect=True)
def test_a_database_of_every_revision_becomes_the_schema(old: str) -> None:
    with open_database(old) as database, database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@everywhere
@pytest.mark.parametrize("old", REVISIONS, indirect=True)
def test_what_an_older_collector_stored_reads_judges_and_compacts_on(
    old: str, golden: sa.Engine, served: TestClient
) -> None:
    collector, expected = served.app.state.collector, sent(golden)
    check_readings(served, expected)
    alerts = served.get("/api/v1/alerts").json()
    assert [one["rule"] for one in alerts["alerts"]] == ["nonfinite"]
    assert served.get("/api/v1/runs/ended/latest").json()["step"] == 719
    assert served.get("/api/v1/runs/ended/map?series=stream_rms").json()["layers"] == 2
    assert list(verify(old)) == []

    positions = []
    for _ in range(6):
        collector.judge._due.clear()
        collector.judge.turn()
        with reading(collector.engine) as connection:
            query = sa.select(detector_states.c.run_id, detector_states.c.judged_step)
            positions.append({run_id: step for run_id, step in connection.execute(query)})
    assert positions[-1] == {"ended": 719, "going": 1499}
    assert all(1099 <= one["going"] for one in positions)
    known = {"state", "updated_at"}
    assert [strip(one, known) for one in served.get("/api/v1/runs/ended/alerts").json()["alerts"]] == [
        strip(one, known) for one in alerts["alerts"]
    ]

    assert Compactor(collector.engine, lambda: time.time() + 3600).run_once() >= 5
    with reading(collector.engine) as connection:
        of_batches = sa.select(sa.func.count()).where(records.c.kind == "batch", records.c.run_id == "ended")
        assert connection.execute(of_batches).scalar_one() == 0
    check_readings(served, expected)
    assert list(verify(old)) == []

    writer = Writer(served, "going", session="g", next_sequence=5)
    assert writer.declare().json()["next_sequence"] == 5
    assert writer.send(writer.batch([1500], [[1.0, 2.0, 3.0, 4.0, 5.0]])).status_code == 200
    assert served.get("/api/v1/runs/going/latest").json()["step"] == 1500


def strip(one: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {key: value for key, value in one.items() if key not in names}


def test_the_golden_file_itself_is_migrated_in_place(golden: sa.Engine) -> None:
    expected = sent(golden)
    golden.dispose()
    path = str(golden.url.database)
    with TestClient(create_app(Settings(db=path)), base_url=HERE) as http:
        check_readings(http, expected)
    assert list(verify(path)) == []


@everywhere
@pytest.mark.parametrize("old", ["0002"], indirect=True)
def test_what_older_alerts_have_told_is_carried_over(old: str) -> None:
    engine = sa.create_engine(old if "://" in old else f"sqlite:///{old}")
    with engine.begin() as connection:
        seen = "acknowledged_at = 7.5, acknowledged_by = 'mira', acknowledged_note = 'rate lowered'"
        connection.execute(sa.text(f"UPDATE alerts SET {seen}"))
    migrate(engine, "head")
    with engine.connect() as connection:
        (alert,) = connection.execute(sa.select(alerts)).all()
        (said,) = connection.execute(sa.select(acknowledgements)).all()
        severities = connection.execute(sa.select(alert_transitions.c.severity)).scalars().all()
    engine.dispose()
    assert (alert.num_firings, alert.flapping, alert.labels) == (1, False, {})
    assert alert.acknowledged_severity == alert.severity == said.severity
    assert (said.alert_id, said.author, said.note, said.time) == (1, "mira", "rate lowered", 7.5)
    assert set(severities) == {None}
