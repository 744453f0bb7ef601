"""The text: real, the same each time, and clear about what is wrong with a user's own."""

import sys
from pathlib import Path

import pytest
import torch

from foreshock.reference_models.corpus import Batches, Domain, load_domains, standard_domains, user_domain
from foreshock.reference_models.errors import CorpusError


def domain(name: str, text: bytes) -> Domain:
    return Domain(name, "a test", torch.frombuffer(bytearray(text), dtype=torch.uint8))


def read(found: Domain) -> bytes:
    return bytes(found.bytes_k.numpy())


def test_the_standard_library_is_real_text_and_the_same_each_time() -> None:
    code, prose = standard_domains()
    assert (code.name, prose.name) == ("code", "prose")
    assert b"class OrderedDict(dict):" in read(code)
    assert b"Draw a circle with given radius." in read(prose)
    assert b"expression list" in read(prose)
    assert len(code.bytes_k) > 2**20
    assert len(prose.bytes_k) > 2**18
    assert [read(one) for one in standard_domains()] == [read(code), read(prose)]


def test_prose_without_documentation_topics_is_docstrings_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    prose = standard_domains()[1]
    assert "has no documentation topics" in prose.origin
    assert b"Draw a circle with given radius." in read(prose)


def test_an_installation_without_sources_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(CorpusError, match=r"standard library sources.*give text of your own with --data"):
        standard_domains()


def test_files_and_folders_become_named_domains(tmp_path: Path) -> None:
    (tmp_path / "poems").mkdir()
    (tmp_path / "poems" / "b.txt").write_text("two")
    (tmp_path / "poems" / "a.txt").write_text("one")
    (tmp_path / "poems" / ".hidden").write_text("never")
    (tmp_path / "news.txt").write_text("three")
    domains = load_domains([str(tmp_path / "poems"), f"papers={tmp_path / 'news.txt'}"])
    assert [(one.name, read(one)) for one in domains] == [("poems", b"onetwo"), ("papers", b"three")]


def test_missing_and_empty_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(CorpusError, match=r"nowhere does not exist; give a file or a folder"):
        user_domain(str(tmp_path / "nowhere"))
    for name in ("empty.txt", "folder"):
        with pytest.raises(CorpusError, match="holds no text"):
            user_domain(f"mine={tmp_path / name}")


def test_two_domains_of_one_name_are_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("some")
    with pytest.raises(CorpusError, match="'text' twice; tell them apart with NAME=PATH"):
        load_domains([str(tmp_path / "text"), f"text={tmp_path / 'text'}"])


def test_text_shorter_than_a_context_is_told() -> None:
    with pytest.raises(CorpusError, match=r"'tiny' has 16 bytes.*context of 16 needs at least 17"):
        Batches([domain("tiny", b"x" * 16)], batch_size=1, context=16, seed=0)
    assert Batches([domain("tiny", b"x" * 17)], batch_size=1, context=16, seed=0).draw().shape == (1, 17)


def test_the_seed_decides_the_order_of_the_text() -> None:
    domains = [domain("low", bytes(range(100)) * 5), domain("high", bytes(range(128, 228)) * 5)]

    def draws(seed: int) -> torch.Tensor:
        batches = Batches(domains, batch_size=4, context=8, seed=seed)
        torch.rand(3)  # the global generator has no say
        return torch.stack([batches.draw() for _ in range(50)])

    assert torch.equal(draws(1), draws(1))
    assert not torch.equal(draws(1), draws(2))
    rows = draws(1).flatten(0, 1)
    share_high = (rows[:, 0] >= 128).double().mean().item()
    assert 0.4 < share_high < 0.6
    assert rows.dtype == torch.int64
    assert set((rows[:, 1:] - rows[:, :-1]).unique().tolist()) == {1, -99}
