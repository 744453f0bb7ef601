"""A configuration file made short, changed, and refused."""

import json
from pathlib import Path

import pytest

from foreshock.reference_models.errors import ScenarioError, StressError
from foreshock.reference_models.stress.knobs import Factors, settings
from foreshock.reference_models.stress.own_model import OwnModel, changed

FILE = """
[scenario]
name = "own"
family = "own"
class = "negative"
why = "a test"

[model]
connection = "hc"
num_blocks = 1
width = 32
context = 16

[train]
num_steps = 1000
warmup_steps = 100
"""


def written(folder: Path, text: str = FILE) -> Path:
    path = folder / "own.toml"
    path.write_text(text)
    return path


def test_a_long_run_is_shortened_with_its_warmup(tmp_path: Path) -> None:
    own = OwnModel.load(written(tmp_path), 200)
    turned = {one.variant: own.config_of(one, 4) for one in settings(own.base, Factors())}
    assert (turned["base"].num_steps, turned["base"].warmup_steps, turned["base"].seed) == (200, 20, 4)
    assert (turned["longer"].num_steps, turned["longer"].warmup_steps) == (400, 20)
    assert turned["deeper"].model.num_blocks == 2
    assert turned["higher_rate"].learning_rate == pytest.approx(9e-3)
    assert turned["larger_batch"].batch_size == 16


def test_a_change_is_one_variant_more(tmp_path: Path) -> None:
    own = OwnModel.load(
        written(tmp_path), 50, ("model.connection=mhc", "train.clip=none", "model.num_blocks=3")
    )
    (extra,) = own.extra_settings()
    config = own.config_of(extra, 0)
    assert (config.model.connection, config.clip, config.model.num_blocks) == ("mhc", None, 3)
    assert own.config_of(own.base, 0).model.connection == "hc"


def test_the_twin_of_a_constrained_model_is_hc_and_others_have_none(tmp_path: Path) -> None:
    path = written(tmp_path, FILE.replace('"hc"', '"mhc"'))
    own = OwnModel.load(path, 50, has_twin=True)
    (extra,) = own.extra_settings()
    assert own.config_of(extra, 3).model.connection == "hc"
    assert own.config_of(own.base, 3).model.connection == "mhc"
    assert json.loads(own.command(extra, 3)[-1])["has_twin"] is True
    with pytest.raises(StressError, match="leave --unconstrained out"):
        OwnModel.load(written(tmp_path), 50, has_twin=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.conection=mhc", "did you mean 'connection'"),
        ("connection=mhc", "give model.FIELD=VALUE"),
        ("model.connection", "give model.FIELD=VALUE"),
        ("model.num_blocks=many", "give a whole number"),
        ("model.connection=residual", "1 stream, not 4"),
        ("train.seed=3", "seed is not for a change"),
    ],
)
def test_a_change_that_cannot_be_is_refused(tmp_path: Path, change: str, message: str) -> None:
    own = OwnModel.load(written(tmp_path), 50)
    with pytest.raises(StressError, match=message):
        changed(own.config, (change,))


def test_grids_late_faults_and_unknown_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StressError, match="a grid of 2 configurations"):
        OwnModel.load(written(tmp_path, FILE + "[grid]\ntrain.learning_rate = [1e-3, 2e-3]\n"), 50)
    with pytest.raises(ScenarioError, match=r"own.toml:17: .*lerning_rate.*did you mean"):
        OwnModel.load(written(tmp_path, FILE + "lerning_rate = 1e-3\n"), 50)
    late = FILE + '[[fault]]\nkind = "bad_batch"\nstep = 60\n'
    own = OwnModel.load(written(tmp_path, late), 50)
    with pytest.raises(StressError, match="a fault begins at step 60"):
        own.command(own.base, 0)
    assert OwnModel.load(written(tmp_path, late), 100).fault_step == 60


def test_a_pattern_of_layers_that_no_deeper_model_has_is_refused_before_training(tmp_path: Path) -> None:
    pattern = '"mixed"\nlayer_connections = "hc,mhc*3"'
    mixed = FILE.replace('"hc"', pattern).replace("num_blocks = 1", "num_blocks = 2")
    own = OwnModel.load(written(tmp_path, mixed), 50)
    (deeper,) = settings(own.base, Factors(depth=1.5), ("deeper",))
    with pytest.raises(StressError, match=r"the variant deeper .* names 4 layers; the network has 6"):
        own.command(deeper, 0)


def test_a_digest_stands_for_the_configuration_and_not_for_its_seeds(tmp_path: Path) -> None:
    first = OwnModel.load(written(tmp_path), 50).digest
    assert (
        OwnModel.load(
            written(tmp_path, FILE.replace('why = "a test"', 'why = "?"\nseeds = [5, 6]')), 9
        ).digest
        == first
    )
    assert OwnModel.load(written(tmp_path, FILE + "clip = 2.0\n"), 50).digest != first
    assert json.dumps(OwnModel.load(written(tmp_path), 50).describe())
