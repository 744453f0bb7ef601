"""All baselines of the protocol with the thresholds that their authors published."""

from foreshock.reference_models.scenarios.scoring.baselines.drift import (
    HalfSpaceTrees,
    adwin,
    has_river,
    page_hinkley,
)
from foreshock.reference_models.scenarios.scoring.baselines.level import CompositeAmax, Level, LogAmaxLine
from foreshock.reference_models.scenarios.scoring.baselines.ratio import Ratio
from foreshock.reference_models.scenarios.scoring.baselines.sigma import Sigma
from foreshock.reference_models.scenarios.scoring.baselines.zclip import ZClip
from foreshock.reference_models.scenarios.scoring.watcher import Watcher


def baselines() -> tuple[Watcher, ...]:
    """One of each, but for the schedule-only predictor, which is fitted, and river's where it is missing."""
    own: tuple[Watcher, ...] = (
        Sigma("olmo_7_sigma", "OLMo 2: 7 sigma of the last 1000", ("loss",), 1000, 128, 7.0),
        Sigma("olmo_core_6_sigma", "OLMo-core: 6 sigma of the last 128", ("loss", "grad_norm"), 128, 64, 6.0),
        ZClip(),
        Ratio("grad_norm_5_medians", "5 x the median of the last 100", "grad_norm", "median", 100, 5.0),
        Ratio("twice_the_mean", "llm-foundry: 2 x the mean of the last 100", "loss", "mean", 100, 2.0),
        Ratio(
            "ten_times_the_first",
            "Megatron: 10 x the largest of the first 100",
            "loss",
            "largest of the first",
            100,
            10.0,
        ),
        Sigma("update_2_sigma", "Marin: update norm, 2 sigma of the last 128", ("update_rms",), 128, 64, 2.0),
        Level(
            "adam_rms", "Wortsman et al., arXiv:2304.13013: RMS of Adam's update over 2.3", "adam_rms", 2.3
        ),
        Level("max_logit", "attention logit over 1e3", "max_attention_logit", 1e3),
        CompositeAmax(),
        LogAmaxLine(),
    )
    return (*own, page_hinkley(), adwin(), HalfSpaceTrees()) if has_river() else own


def missing_baselines() -> dict[str, str]:
    """Baselines that are left out, and what would bring them."""
    if has_river():
        return {}
    why = "river is not installed; pip install 'foreshock[bench]' brings it"
    return dict.fromkeys(("page_hinkley", "adwin", "half_space_trees"), why)
