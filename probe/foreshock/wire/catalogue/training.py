"""Loss, gradients and what the optimizer makes of them."""

from typing import Final

from foreshock.wire.signal import Signal

TRAINING: Final = (
    Signal("loss", "Training loss of the step", "-mean log p(next token)", "nat", "-", across_ranks="mean"),
    Signal("learning_rate", "Learning rate of the first parameter group", "lr_t", "1", "-"),
    Signal(
        "grad_norm",
        "Norm of all gradients before clipping",
        "||g||_2",
        "1",
        "arXiv:1211.5063",
        log_scale=True,
    ),
    Signal("grad_norm_clipped", "Norm of all gradients after clipping", "c ||g||_2", "1", "arXiv:1211.5063"),
    Signal(
        "clip_coefficient",
        "Share of the gradient that clipping leaves",
        "min(1, threshold / ||g||_2)",
        "ratio",
        "arXiv:1211.5063",
        across_ranks="min",
    ),
    Signal("step_skipped", "1 where the optimizer did not step (a scaler skipped it)", "0 or 1", "1", "-"),
    Signal("step_seconds", "Wall time since the last step", "t_k - t_(k-1)", "s", "-"),
)
