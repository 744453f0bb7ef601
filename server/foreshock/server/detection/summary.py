"""What lists, metrics and the restart verdict want to know of a run without reading its log."""

import math
from typing import Any, Final

import msgspec
import numpy as np

from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.history import History
from foreshock.server.detection.measures import Measure, layer_gains, tells_gains, worst_layer
from foreshock.server.detection.sample import FloatArray, Sample, StepArray

WARM_UP_SHARE: Final = 0.1
WARM_UP_AT_MOST: Final = 200
FINAL_SHARE: Final = 0.05
FINAL_AT_LEAST: Final = 10
FINAL_AT_MOST: Final = 200


class Progress(msgspec.Struct, frozen=True):
    """Running facts of a run.

    `peak_composite_log` is the largest logarithm of the worst composite amax, both directions, mean
    over tokens, after the warm-up (the first 10 %, at most 200 steps). `died_step` is the first of
    the non-finite losses that the run has ended in, None while the loss is finite.
    """

    num_samples: int = 0
    peak_composite_log: float | None = None
    peak_step: int | None = None
    died_step: int | None = None
    first_critical_step: int | None = None
    has_layers: bool = False
    latest: dict[str, float] = {}
    worst_layer: int | None = None


def note(progress: Progress, block: Block, now: FloatArray, context: RunContext) -> Progress:
    """The facts with a block of steps more; `now` are its measures [Measure, S]."""
    changes: dict[str, Any] = {"num_samples": progress.num_samples + len(block)}
    loss = block.columns.scalar("loss")
    if loss is not None:
        told = block.present[:, loss]
        changes["died_step"] = _died(progress, block.steps[told], block.values[told, loss])
    with_layers = np.flatnonzero(tells_gains(block))
    if len(with_layers):
        changes["has_layers"] = True
        changes["worst_layer"] = worst_layer(layer_gains(block.sample(int(with_layers[-1]))))
    logs = now[[Measure.LOG_COMPOSITE_FORWARD, Measure.LOG_COMPOSITE_BACKWARD]]
    logs = np.fmax.reduce(np.where(np.isfinite(logs), logs, np.nan))
    logs[block.steps < context.share_of_run(WARM_UP_SHARE, WARM_UP_AT_MOST)] = np.nan
    if not np.isnan(logs).all():
        peak = int(np.nanargmax(logs))
        if progress.peak_composite_log is None or logs[peak] > progress.peak_composite_log:
            changes |= {"peak_composite_log": float(logs[peak]), "peak_step": int(block.steps[peak])}
    return msgspec.structs.replace(progress, **changes)


def _died(progress: Progress, steps: StepArray, losses: FloatArray) -> int | None:
    """The first of the non-finite losses that all those end in that were told."""
    finite = np.flatnonzero(np.isfinite(losses))
    if not len(finite):
        first = int(steps[0]) if len(steps) else None
        return first if progress.died_step is None else progress.died_step
    failed = steps[finite[-1] + 1 :]
    return int(failed[0]) if len(failed) else None


def final_loss(history: History, context: RunContext, last_step: int) -> float | None:
    """The mean of the finite losses over the last 5 % of the run (10 to 200 steps), None without any."""
    share = max(FINAL_AT_LEAST, context.share_of_run(FINAL_SHARE, FINAL_AT_MOST))
    losses = history.since(Measure.LOSS, last_step - share + 1)[1]
    return float(losses.mean()) if len(losses) else None


def summarise(
    progress: Progress, sample: Sample | None, history: History, context: RunContext, last_step: int
) -> dict[str, Any]:
    """What `runs.summary` holds; None was never measured, NaN and Inf are what they are.

    The database's JSON writes non-finite numbers as words.
    """
    ended = last_step if progress.died_step is None else progress.died_step - 1
    forward = history.latest(Measure.LOG_COMPOSITE_FORWARD, 0)
    backward = history.latest(Measure.LOG_COMPOSITE_BACKWARD, 0)
    summary: dict[str, Any] = {
        "step": last_step,
        "num_samples": progress.num_samples,
        "worst_layer": progress.worst_layer,
        "worst_layer_gain_forward": _known(history.latest(Measure.LAYER_GAIN_FORWARD, 0)),
        "worst_layer_gain_backward": _known(history.latest(Measure.LAYER_GAIN_BACKWARD, 0)),
        "composite_forward": _exp(forward),
        "composite_backward": _exp(backward),
        "canary_gain": _known(history.latest(Measure.CANARY_GAIN, 0)),
        "headroom_bits": _known(history.latest(Measure.HEADROOM_BITS, 0)),
        "peak_composite_log": progress.peak_composite_log,
        "peak_step": progress.peak_step,
        "died_step": progress.died_step,
        "first_critical_step": progress.first_critical_step,
        "has_layers": progress.has_layers,
        "final_loss": final_loss(history, context, ended),
    }
    if sample is not None:
        summary |= _last_values(sample)
    return summary


def _last_values(sample: Sample) -> dict[str, Any]:
    """The newest values as they are, non-finite ones too."""
    values: dict[str, Any] = {}
    for series in ("loss", "grad_norm", "clip_coefficient", "learning_rate"):
        place = sample.columns.scalar(series)
        here = place is not None and bool(sample.present[place])
        values[series] = sample.scalar(series) if here else None
    gains = layer_gains(sample)
    finite = gains[np.isfinite(gains)]
    if len(finite):
        cuts = np.quantile(finite, (0.5, 0.9, 1.0)).tolist()
        values["layer_gain_quantiles"] = dict(zip(("0.5", "0.9", "1"), cuts, strict=True))
    else:
        values["layer_gain_quantiles"] = None
    return values


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _exp(log: float) -> float | None:
    if math.isnan(log):
        return None
    return math.exp(log) if log < 700 else math.inf
