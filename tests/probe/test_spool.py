"""The spool keeps order, survives torn tails, and names what it had to drop."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.probe.errors import SpoolError
from foreshock.probe.spool import Spool
from foreshock.wire import Batch, Event, Layout, Record, Tombstone, decode_record, make_batch

LAYOUT = Layout(0, 0, "step", ("loss",))


def batch(sequence: int, num_steps: int = 50) -> Batch:
    noise = np.random.default_rng(sequence).standard_normal((num_steps, 1)).astype(np.float32)
    steps = np.arange(num_steps) + sequence * num_steps
    return make_batch(sequence, 0, steps, steps.astype(float), noise)


def read_all(spool: Spool, sequence: int = 0) -> list[Record]:
    return [decode_record(entry.data) for entry in spool.read(sequence, 2**40)]


def covers(records: list[Record]) -> list[int]:
    """The sequence numbers that records stand for."""
    numbers: list[int] = []
    for record in records:
        last = record.last_sequence if isinstance(record, Tombstone) else record.sequence
        numbers += range(record.sequence, last + 1)
    return numbers


@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=12), acknowledged=st.integers(0, 40))
def test_order_is_kept_however_it_is_written_and_acknowledged(
    cuts: list[int], acknowledged: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), max_bytes=64 * 1024)
    sequence = 0
    for cut in cuts:
        spool.append([batch(sequence + offset) for offset in range(cut)])
        sequence += cut
    spool.acknowledge(min(acknowledged, sequence))
    again = Spool(spool.folder, max_bytes=64 * 1024)
    for opened in (spool, again):
        assert opened.acknowledged == min(acknowledged, sequence)
        assert opened.next_sequence == sequence
        assert covers(read_all(opened, opened.acknowledged)) == list(range(opened.acknowledged, sequence))
    spool.close()


@given(torn=st.integers(1, 300))
def test_a_torn_tail_loses_its_record_only(torn: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder)
    spool.append([batch(0), batch(1)])
    spool.append([batch(2)])
    spool.close()
    (segment,) = folder.glob("segment-*")
    size = segment.stat().st_size
    last = len(spool.read(2, 1)[0].data) + 24
    os.truncate(segment, size - min(torn, last))
    assert covers(read_all(Spool(folder))) == [0, 1]


def test_a_flipped_bit_is_never_handed_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append([batch(0), batch(1), batch(2)])
    spool.close()
    (segment,) = tmp_path.glob("segment-*")
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    assert covers(read_all(Spool(tmp_path))) == [0]


@pytest.mark.parametrize("torn", [0, 1, 2, 3])
def test_what_is_torn_before_others_is_stood_in_for(
    tmp_path: Path, torn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.probe.spool._SEGMENT_BYTES", 4096)
    late = Layout(5, 1, "composite", ("a",))
    spool = Spool(tmp_path)
    for record in (LAYOUT, *(batch(n, 2000) for n in range(1, 5)), late, batch(6, 2000)):
        spool.append([record])
    spool.close()
    segments = sorted(tmp_path.glob("segment-*"))
    assert len(segments) == 5
    os.truncate(segments[torn], 30)
    os.truncate(segments[-1], 30)
    found = Spool(tmp_path)
    records = read_all(found)
    assert covers(records) == list(range(found.next_sequence))
    assert {LAYOUT, late} >= {one for one in records if isinstance(one, Layout)} >= {LAYOUT}
    lost = [one for one in records if isinstance(one, Tombstone)]
    assert {one.reason for one in lost} == {"the spool was torn"}


def test_a_full_spool_drops_the_oldest_batches_and_names_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=40_000)
    spool.append([LAYOUT])
    for sequence in range(1, 400):
        spool.append([batch(sequence)])
    records = read_all(spool)
    assert covers(records) == list(range(400))
    assert LAYOUT in records
    lost = [record for record in records if isinstance(record, Tombstone)]
    assert sum(record.num_frames for record in lost) == spool.lost_frames > 0
    kept = [record.sequence for record in records if isinstance(record, Batch)]
    assert kept == list(range(kept[0], 400))
    assert spool.num_bytes <= 40_000 + 20_000


def test_acknowledged_segments_leave_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=2**20)
    for sequence in range(2000):
        spool.append([batch(sequence)])
    spool.acknowledge(2000)
    assert spool.is_drained
    assert list(tmp_path.glob("segment-*")) == []
    spool.append([batch(2000)])
    assert covers(read_all(spool, 2000)) == [2000]


def test_what_a_collector_has_lost_is_stood_in_for(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    late = Layout(4, 1, "composite", ("a", "b"))
    spool.append([LAYOUT, batch(1), batch(2), batch(3), late, batch(5), batch(6)])
    spool.acknowledge(6)
    for opened in (spool, Spool(tmp_path)):
        records = [decode_record(entry.data) for entry in opened.reissue(0, 6)]
        assert covers(records) == list(range(6))
        assert [record for record in records if isinstance(record, Layout)] == [LAYOUT, late]


def test_a_moved_spool_goes_on(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "attempt-0")
    spool.append([LAYOUT])
    spool.move(tmp_path / "attempt-1")
    spool.append([Event(1, 0, 0.0, "finished", {})])
    assert covers(read_all(Spool(tmp_path / "attempt-1"))) == [0, 1]


def test_a_spool_keeps_its_writers_name(tmp_path: Path) -> None:
    assert Spool(tmp_path).session == Spool(tmp_path).session


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match="cannot be used"):
        Spool(tmp_path / "file" / "attempt-0")
