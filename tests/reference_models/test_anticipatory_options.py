"""The options for anticipatory routing, and what each mode would not use."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.reference_models.test_commands import SMALL, run

from foreshock.reference_models.anticipatory import AnticipatoryRouting
from foreshock.reference_models.anticipatory_options import AnticipatoryOptions
from foreshock.reference_models.checkpoint_options import CheckpointOptions
from foreshock.reference_models.errors import ConfigError


def test_what_is_not_given_is_the_default() -> None:
    assert AnticipatoryOptions().config() == AnticipatoryRouting()
    assert AnticipatoryOptions("always", lag=0).config() == AnticipatoryRouting("always", lag=0)
    given = AnticipatoryOptions("reactive", 2, 30, 0).config()
    assert given == AnticipatoryRouting("reactive", lag=2, period_steps=30, rollback_steps=0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lag": 3}, "lag is 3, but anticipatory routing is off; give --anticipatory always or reactive"),
        (
            {"anticipatory": "always", "period_steps": 9},
            "period_steps is 9, but anticipatory routing is always",
        ),
        (
            {"anticipatory": "always", "rollback_steps": 0},
            "rollback_steps is 0, .*give --anticipatory reactive",
        ),
        ({"anticipatory": "sometimes", "lag": 3}, "anticipatory is 'sometimes'; choose one of off"),
    ],
)
def test_what_a_mode_would_not_use_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        AnticipatoryOptions(**given).config()


def test_a_run_that_goes_back_keeps_its_checkpoints_that_often(tmp_path: Path) -> None:
    def every(given: int | None, rollback_steps: int | None) -> int:
        keeping = CheckpointOptions(tmp_path, given, 3, None).keeping("it", rollback_steps=rollback_steps)
        assert keeping is not None
        return keeping.every

    assert [every(None, None), every(None, 20), every(None, 500), every(50, 20)] == [100, 20, 100, 50]


def test_the_command_tells_what_happened(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("to and fro " * 50)
    options = [*SMALL, "--data", str(tmp_path / "own.txt"), "--mode", "disabled", "--experts", "4"]
    code, out, err = run(*options, "--anticipatory", "always", "--lag", "2", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert {"anticipatory": "always", "anticipatory_lag": 2}.items() <= report["config"].items()
    told = {"kind": "routing_anticipatory_on", "step": 0, "reason": "always on", "to_step": None}
    assert report["routing_events"] == [told]
    assert "step 0: routing_anticipatory_on (always on)\n" in run(*options, "--anticipatory", "always")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--anticipatory", "on"], "--anticipatory is 'on'; choose one of off, always, reactive"),
        (["--anticipatory", "always"], "--anticipatory is 'always', but the model has no experts"),
        (["--lag", "3"], "--lag is 3, but anticipatory routing is off"),
        (["--experts", "4", "--anticipatory", "always", "--lag", "-1"], "--lag is -1; give 0 to 1000"),
        (["--experts", "4", "--anticipatory", "reactive", "--period", "0"], "--period is 0; give 1 or more"),
        (["--anticipatory", "always", "--rollback", "5"], "--rollback is 5, but anticipatory routing is"),
    ],
)
def test_what_is_given_wrongly_is_told_in_the_commands_words(arguments: list[str], words: str) -> None:
    code, out, err = run(*SMALL, "--mode", "disabled", "--json", *arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and words in err
