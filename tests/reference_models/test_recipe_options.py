"""The short forms of the command line."""

from typing import Any

import pytest

from foreshock.reference_models.batch import BatchRamp
from foreshock.reference_models.errors import ConfigError
from foreshock.reference_models.faults import BadBatch, DomainSwitch, StreamPrecision
from foreshock.reference_models.mixture import MixPoint, Mixture
from foreshock.reference_models.recipe_options import RecipeOptions, parse_fault_text
from foreshock.reference_models.schedule import Rewarm
from foreshock.reference_models.train_config import OptimizerConfig, TrainConfig


def options(**changes: Any) -> RecipeOptions:
    defaults: dict[str, Any] = dict(
        optimizer="adamw", betas="0.9,0.95", adam_eps=1e-8, router_lr_factor=1.0, undecayed=(),
        schedule="cosine", rewarms=(), accumulate=1, z_loss=0.0, batch_ramp=None, mix=(), mix_change="step",
        faults=(),
    )  # fmt: skip
    return RecipeOptions(**(defaults | changes))


def test_nothing_given_is_the_default_configuration() -> None:
    assert TrainConfig(**options().config_fields()) == TrainConfig()


def test_what_is_given_is_read() -> None:
    fields = options(
        optimizer="muon",
        betas="0.8, 0.999",
        rewarms=("50", "90:10", "100:20:0.5"),
        batch_ramp="2:30",
        mix=("code=1", "50:prose=1"),
        mix_change="linear",
        faults=("bad_batch step=3 share=0.5", "stream_precision step=4 precision=bf16"),
    ).config_fields()
    assert fields["optimizer"] == OptimizerConfig(name="muon", betas=(0.8, 0.999))
    assert fields["rewarms"] == (Rewarm(50), Rewarm(90, 10), Rewarm(100, 20, 0.5))
    assert fields["batch_ramp"] == BatchRamp(2, 30)
    points = (MixPoint(0, (("code", 1.0),)), MixPoint(50, (("prose", 1.0),)))
    assert fields["mix"] == Mixture(points, "linear")
    assert fields["faults"] == (BadBatch(step=3, share=0.5), StreamPrecision(step=4, precision="bf16"))


def test_a_switchs_weights_are_read() -> None:
    read = parse_fault_text("domain_switch step=5 weights=code:0.5,prose:2")
    assert read == DomainSwitch(step=5, weights=(("code", 0.5), ("prose", 2.0)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"betas": "0.9"}, "betas is '0.9'; give two numbers"),
        ({"rewarms": ("soon",)}, "rewarm is 'soon'; give STEP"),
        ({"rewarms": ("5:2:1:9",)}, "rewarm is '5:2:1:9'; give STEP"),
        ({"batch_ramp": "2"}, "batch_ramp is '2'; give WINDOWS:STEPS"),
        ({"batch_ramp": "0:5"}, "batch_ramp begins at 0 windows"),
        ({"mix_change": "linear"}, "no mix is given; give --mix"),
        ({"faults": ("bad_batch 100",)}, "give a kind and then each KEY=VALUE once"),
        ({"faults": ("bad_batch step=1 step=2",)}, "each KEY=VALUE once"),
        ({"faults": ("",)}, "a fault has the kind ''; choose one of"),
        ({"faults": ("domain_switch step=5 weights=code",)}, "give its weights as weights=code:1,prose:0"),
    ],
)
def test_what_cannot_be_read_is_told(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        options(**changes).config_fields()
