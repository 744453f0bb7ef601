"""Raw frames, page by page: bit for bit what was sent, from the log and from chunks alike."""

from typing import Any

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from starlette.testclient import TestClient
from tests.server.conftest import Problem, Writer
from tests.server.test_compaction import both, compact, judged, quiet, wild_values

from foreshock.server.store.schema import records

__all__ = ["quiet"]  # the fixture


def pages(http: TestClient, **query: Any) -> list[dict[str, Any]]:
    """All blocks of all pages, arrays unpacked."""
    blocks: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = http.get(
            "/api/v1/runs/run-1/frames",
            params={**query, **cursor},
            headers={"Accept": "application/msgpack"},
        )
        assert answer.status_code == 200, answer.text
        page = msgspec.msgpack.decode(answer.content)
        for block in page["blocks"]:
            steps = np.frombuffer(block["steps"], "<i8")
            blocks.append(
                block
                | {
                    "steps": steps,
                    "times": np.frombuffer(block["times"], "<f8"),
                    "values": np.frombuffer(block["values"], "<f4").reshape(-1, len(steps)),
                }
            )
        if page["next"] is None:
            return blocks
        cursor = {"cursor": page["next"]}


def joined(blocks: list[dict[str, Any]], rank: int, layout_id: int) -> tuple[Any, Any, Any]:
    mine = [block for block in blocks if (block["rank"], block["layout_id"]) == (rank, layout_id)]
    return (
        np.concatenate([block["steps"] for block in mine]),
        np.concatenate([block["times"] for block in mine]),
        np.concatenate([block["values"] for block in mine], axis=1),
    )


@both
@pytest.mark.parametrize("limit", [1, 1000, 7919, 4 * 2**20])
def test_every_bit_that_was_sent_comes_back_once_and_in_order(quiet: TestClient, limit: int) -> None:
    rng = np.random.default_rng(limit)
    sent: dict[tuple[int, int], Any] = {}
    per_step = 13 if limit > 1 else 2
    length = 5000 if limit > 1 else 12
    for rank in (0, 1):
        writer = Writer(quiet, rank=rank).start(*(f"x{i}" for i in range(per_step)))
        writer.send(writer.layout("slow", layout_id=1, stream="slow"))
        values = wild_values(rng, (length, per_step))
        slow = wild_values(rng, (length // 10, 1))
        for start in range(0, length, max(1, length // 4)):
            here = slice(start, start + max(1, length // 4))
            writer.send(writer.batch(range(length)[here], values[here]))
        writer.send(writer.batch(range(0, length // 10 * 10, 10), slow, layout_id=1))
        sent[rank, 0], sent[rank, 1] = (
            (np.arange(length), values),
            (np.arange(0, length, 10)[: len(slow)], slow),
        )
    for judged_step in (-1, length // 2, length):
        judged(quiet, judged_step)
        compact(quiet)
        blocks = pages(quiet, limit=limit)
        assert [(one["rank"], one["layout_id"]) for one in blocks] == sorted(
            (one["rank"], one["layout_id"]) for one in blocks
        )
        for key, (steps, values) in sent.items():
            found = joined(blocks, *key)
            assert found[0].tolist() == steps.tolist()
            assert found[1].tolist() == steps.astype(float).tolist()
            assert found[2].tobytes() == np.ascontiguousarray(values.T).tobytes()


@both
def test_columns_ranks_and_windows_are_chosen(quiet: TestClient) -> None:
    for rank in (0, 1):
        writer = Writer(quiet, rank=rank).start("loss", "a", "b")
        values = np.arange(9000.0).reshape(3000, 3)
        writer.send(writer.batch(range(0, 9000, 3), values))
    judged(quiet, 5000)
    compact(quiet)
    blocks = pages(quiet, column=["b", "none"], rank=1, start=4000, stop=6001)
    steps, _, found = joined(blocks, 1, 0)
    assert {one["rank"] for one in blocks} == {1} and {tuple(one["columns"]) for one in blocks} == {("b",)}
    assert steps.tolist() == [step for step in range(0, 9000, 3) if 4000 <= step <= 6001]
    assert found[0].tolist() == [step + 2 for step in steps.tolist()]
    assert pages(quiet, start=3001, stop=3002) == pages(quiet, column="none") == []


def test_as_json_what_is_missing_is_null_and_nan_is_a_word(http: TestClient, writer: Writer) -> None:
    from foreshock.wire import MISSING

    writer.start("loss", "a")
    writer.send(writer.batch([3], [[np.nan, MISSING[0]]]))
    page = http.get("/api/v1/runs/run-1/frames").json()
    assert page["blocks"][0]["values"] == [["NaN"], [None]]
    assert page["blocks"][0]["steps"] == [3] and page["next"] is None


@pytest.mark.parametrize("cursor", ["", "x", "1.2", "1.2.-3", "1.2.3.4", "1.2.99999999999999999999", "1.2.٣"])
def test_a_cursor_of_ones_own_is_refused(
    http: TestClient, writer: Writer, problem: Problem, cursor: str
) -> None:
    writer.start()
    answer = http.get("/api/v1/runs/run-1/frames", params={"cursor": cursor})
    assert "no page has given out" in problem(answer, 422, "invalid")["detail"]


def test_records_stay_as_long_as_a_page_is_read(quiet: TestClient) -> None:
    """A page is one snapshot: a compaction in between moves nothing past its reader."""
    writer = Writer(quiet).start()
    writer.send(writer.batch(range(3000), np.arange(3000.0)))
    first = quiet.get("/api/v1/runs/run-1/frames?limit=500").json()
    judged(quiet, 3000)
    compact(quiet)
    with quiet.app.state.collector.engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(records)).scalar_one() == 2
    rest = pages(quiet, cursor=first["next"])
    steps = [*first["blocks"][0]["steps"], *joined(rest, 0, 0)[0].tolist()]
    assert steps == list(range(3000))
