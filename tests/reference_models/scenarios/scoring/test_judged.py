"""The model that is scored is the one that was asked for, and what it has not seen is known."""

from pathlib import Path

import msgspec
import pytest

from foreshock.reference_models.errors import ScoreError
from foreshock.reference_models.scenarios.scoring.judged import Judged
from foreshock.server.detection.forecast.fusion import ModelFile, shipped_file


def write(path: Path, alarm: float, *families: str) -> None:
    stored = msgspec.structs.replace(shipped_file(), alarm=alarm, made={"families": families})
    path.write_bytes(msgspec.json.encode(stored))


def test_the_shipped_model_has_not_seen_a_family_of_another_name() -> None:
    judged = Judged.of(None)
    assert judged.watcher.weights is None
    assert judged.unseen({"F1", "F3", "F99"}) == {"F99"}


def test_a_file_is_one_model_for_all(tmp_path: Path) -> None:
    write(tmp_path / "one.json", 3.25, "F1")
    judged = Judged.of(tmp_path / "one.json")
    assert judged.watcher._weights("F1").alarm == judged.watcher._weights("F2").alarm == 3.25
    assert judged.unseen({"F1", "F2"}) == {"F2"}


def test_a_folder_gives_each_family_the_model_without_it(tmp_path: Path) -> None:
    write(tmp_path / "F1.json", 1.5, "F2")
    write(tmp_path / "F2.json", 2.5, "F1")
    judged = Judged.of(tmp_path)
    assert [judged.watcher._weights(family).alarm for family in ("F1", "F2")] == [1.5, 2.5]
    assert judged.unseen({"F1", "F2"}) == {"F1", "F2"}


@pytest.mark.parametrize(
    "content", [b"", b"not json", b"{}", msgspec.json.encode(ModelFile(99, [0.0], {}, 0.0, 0.0))]
)
def test_what_is_no_model_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.json").write_bytes(content)
    with pytest.raises(ScoreError, match=r"model\.json is no model of foreshock scenarios fit"):
        Judged.of(tmp_path / "model.json")
    with pytest.raises(ScoreError, match=r"model\.json is no model"):
        Judged.of(tmp_path)


def test_an_empty_folder_and_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="holds no model"):
        Judged.of(tmp_path)
    with pytest.raises(FileNotFoundError):
        Judged.of(tmp_path / "none.json")
