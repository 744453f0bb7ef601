"""attach: what it takes, from where, what it refuses before anything is hooked, what it captures."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest
import torch

from foreshock.probe import AttachError, attach


def test_call_beats_environment_beats_default(
    loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORESHOCK_MODE", "offline")
    monkeypatch.setenv("FORESHOCK_DIR", str(tmp_path))
    monkeypatch.setenv("FORESHOCK_RUN_ID", "from-environment")
    monkeypatch.setenv("FORESHOCK_URL", "http://127.0.0.1:1/")
    with attach(loop.model, loop.optimizer) as probe:
        assert probe.run_id == "from-environment"
        assert probe.page == "http://127.0.0.1:1/runs/from-environment"
        assert Path(probe.spool_directory).is_relative_to(tmp_path)
    with attach(loop.model, run_id="from-call", url="http://127.0.0.1:2") as probe:
        assert probe.page == "http://127.0.0.1:2/runs/from-call"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"name": "x" * 10_000}, "200"),
        ({"run_id": "../escape"}, "1 to 64 letters"),
        ({"mode": "sometimes"}, "'online', 'offline' and 'disabled'"),
        ({"constraint": "orthogonal"}, "doubly_stochastic"),
        ({"total_steps": 0}, "from 1 to"),
        ({"composite_every": -1}, "from 1 to"),
        ({"total_steps": 2.5}, "whole number"),
        ({"name": "two\nlines"}, "control characters"),
        ({"name": "half \udcff"}, "half characters"),
        ({"name": ""}, "1 to 200"),
        ({"project": " "}, "1 to 200"),
        ({"group": ""}, "1 to 200"),
        ({"tags": [""]}, "1 to 100"),
        ({"tags": ["t"] * 60}, "at most 50"),
        ({"tags": "no list"}, "a list"),
        ({"seed": 2**70}, "from -"),
        ({"seed": "x"}, "whole number"),
        ({"run_id": ".."}, "not '.' or '..'"),
        ({"url": "nonsense"}, "http://127.0.0.1:8787"),
        ({"url": "http://127.0.0.1:notaport"}, "http://127.0.0.1:8787"),
        ({"url": "ftp://x"}, "http://127.0.0.1:8787"),
        ({"token": "\u00e9"}, "ASCII"),
        ({"resume": True}, "run_id"),
        ({"fork_from": "run-1"}, "give \\(run_id, step\\)"),
        ({"fork_from": ("run-1", None)}, "give \\(run_id, step\\)"),
        ({"fork_from": ("run-1", -1)}, "from 0 to"),
        ({"fork_from": ("no/run", 1)}, "1 to 64 letters"),
        ({"notes": ""}, "1 to 2000"),
        ({"notes": "x" * 2001}, "at most 2000"),
    ],
)
def test_attach_says_what_cannot_work(
    arguments: dict[str, Any], told: str, loop: Any, tmp_path: Path
) -> None:
    with pytest.raises(AttachError, match=told):
        attach(loop.model, loop.optimizer, directory=tmp_path, **{"mode": "offline"} | arguments)
    assert all(not module._forward_hooks for module in loop.model.modules())


def test_a_rank_that_is_no_number_is_told(loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "abc")
    with pytest.raises(AttachError, match="RANK"):
        attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)


class Unspeakable:
    """Its own text fails."""

    def __str__(self) -> str:
        raise RuntimeError


def test_no_configuration_stops_a_run(loop: Any, tmp_path: Path) -> None:
    circle: dict[str, Any] = {"numpy": np.float32(2), "odd": Unspeakable(), "half": "\udcff", "huge": 2**80}
    circle["self"] = circle
    circle |= {f"large {i}": "x" * 500 for i in range(900)}
    probe = attach(
        loop.model, loop.optimizer, mode="offline", directory=tmp_path, seed=np.int64(3), config=circle
    )
    probe.finish()
    assert probe.run_id
    text = (Path(probe.spool_directory) / "rank-0.json").read_text()
    declared = msgspec.json.decode(text)
    assert declared["seed"] == 3 and len(text) < 250 * 1024
    assert declared["config"]["odd"] == "<Unspeakable: RuntimeError>" and declared["config"]["half"] == "?"
    assert "large" in declared["config"]["left_out_of_config"]


def test_a_spool_that_cannot_be_written_is_told_before_training_and_leaves_no_hook(
    loop: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AttachError, match="FORESHOCK_DIR"):
        attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path / "file")
    assert all(not module._forward_hooks for module in loop.model.modules())


def test_a_run_is_resumed_only_on_request(loop: Any, read_spool: Callable[..., Any], tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"run_id": "again", "mode": "offline", "directory": tmp_path}
    attach(loop.model, loop.optimizer, **arguments).finish()
    with pytest.raises(AttachError, match="resume=True"):
        attach(loop.model, loop.optimizer, **arguments)
    with attach(loop.model, loop.optimizer, resume=True, **arguments) as probe:
        probe.step(loop.step(), step=100)
    assert list(read_spool(probe, 1).series["loss"]) == [100]


def test_the_configuration_is_captured_without_secrets(
    loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--api-token", "s3cr3t", "--password=hunter2", "--lr", "1"])
    monkeypatch.setenv("MY_SECRET", "in-the-environment")
    config = {"width": 8, "nested": {"list": [1, math.nan]}, "path": tmp_path, "long": "x" * 5000}
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, config=config)
    probe.finish()
    text = (Path(probe.spool_directory) / "rank-0.json").read_text()
    declared = msgspec.json.decode(text)["config"]
    assert not any(secret in text for secret in ("s3cr3t", "hunter2", "in-the-environment"))
    assert declared["num_mixing_layers"] == 5 and declared["optimizer"] == "AdamW"
    assert declared["width"] == 8 and declared["nested"] == {"list": [1, "nan"]}
    assert declared["version_torch"] == torch.__version__ or declared["version_torch"]
    assert len(declared["long"]) == 500


def test_an_observer_that_cannot_start_leaves_no_hook(loop: Any, tmp_path: Path) -> None:
    class Broken:
        columns: ClassVar = {"step": ("mine",)}

        def start(self, places: Any, clock: Any) -> None:
            raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path, observers=[Broken()])
    assert all(not module._forward_hooks for module in loop.model.modules())
    assert not loop.optimizer._optimizer_step_pre_hooks
