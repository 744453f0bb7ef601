"""The two numbers that seeds are compared by: final loss and log peak composite gain.

The judge writes both into `runs.summary`; while it has not, they are read from the log in the same way.
"""

from typing import Final

import numpy as np

from foreshock.server.store.read import StoredRun

FINAL_SHARE: Final = 0.05
FINAL_STEPS_AT_LEAST: Final = 10
FINAL_STEPS_AT_MOST: Final = 200
PEAKS: Final = ("log_composite_amax_forward_mean", "log_composite_amax_backward_mean")


def final_loss(run: StoredRun) -> float | None:
    """The mean of the finite losses over the last 5 % of the run's steps (10 to 200).

    None without any, and of a run whose loss died: what it had reached is no end.
    """
    if run.row["summary"].get("died_step") is not None:
        return None
    judged = run.row["summary"].get("final_loss")
    if judged is not None:
        return float(judged)
    curves = run.curves(("loss",), run.attempt())
    if not curves or not np.isfinite(curves[0].values).any():
        return None
    finite = np.isfinite(curves[0].values)
    steps, losses = curves[0].steps[finite], curves[0].values[finite]
    total = run.row["total_steps"] or int(curves[0].steps[-1]) + 1
    share = min(max(FINAL_STEPS_AT_LEAST, round(FINAL_SHARE * total)), FINAL_STEPS_AT_MOST)
    return float(losses[steps > steps[-1] - share].mean())


def log_peak_gain(run: StoredRun) -> float | None:
    """The largest log composite amax over steps, layers and both directions, mean over tokens."""
    judged = run.row["summary"].get("peak_composite_log")
    if judged is not None:
        return float(judged)
    attempt = run.attempt()
    columns = [column for series in PEAKS for column in run.layer_columns(series, attempt)]
    values = [curve.values[np.isfinite(curve.values)] for curve in run.curves(columns, attempt)]
    known = [float(of_layer.max()) for of_layer in values if len(of_layer)]
    return max(known) if known else None
