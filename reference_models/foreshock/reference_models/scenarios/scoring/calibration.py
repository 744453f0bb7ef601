"""Whether a risk of x is followed by an event in a share x of the cases, horizon by horizon.

A row counts where the watcher gives a risk, up to the row before the run's first event; it is followed by
the event where its onset comes within the horizon. Exogenous runs stay out: their events come from outside.
The climatology is the share of rows that are followed by one, over all of them: a constant forecast that
has seen the answers.

Shape suffixes: N runs, R rows, B bins.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foreshock.reference_models.scenarios.scoring.bootstrap import Bootstrap, Estimate, interval
from foreshock.reference_models.scenarios.scoring.scored_run import ScoredRun
from foreshock.reference_models.scenarios.scoring.watcher import HORIZONS, FloatArray, horizon_steps

NUM_BINS: Final = 10
NO_RISK: Final = "it gives no probability"
NO_CHOICE: Final = "every judged step has the same outcome, so that there is nothing to tell apart"


@dataclass(frozen=True, slots=True)
class Reliability:
    """One horizon. Bins are of equal width: the mean risk, the share that was followed, the rows in each."""

    climatology: float | None
    brier: float | None
    brier_skill: Estimate
    ece: Estimate
    mean_risk: tuple[float | None, ...]
    followed: tuple[float | None, ...]
    num_rows: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def calibration(
    runs: Sequence[ScoredRun], risks: Sequence[FloatArray | None], bootstrap: Bootstrap
) -> dict[str, Reliability] | None:
    """Each horizon's reliability from the risks [R, horizons]; None of a watcher that gives none."""
    if all(risk is None or np.isnan(risk).all() for risk in risks):
        return None
    return {
        horizon: _reliability(runs, risks, place, horizon, bootstrap)
        for place, horizon in enumerate(HORIZONS)
    }


def _reliability(
    runs: Sequence[ScoredRun],
    risks: Sequence[FloatArray | None],
    place: int,
    horizon: str,
    bootstrap: Bootstrap,
) -> Reliability:
    sums = [
        _sums(run, None if risk is None else risk[:, place], horizon)
        for run, risk in zip(runs, risks, strict=True)
    ]
    square_N = np.array([each[0] for each in sums])
    rows_NB, risk_NB, followed_NB = (np.stack([each[part] for each in sums]) for part in (1, 2, 3))
    rows, followed = rows_NB.sum(), followed_NB.sum()
    if not rows:
        return _untold("no row of a run that counts has a risk")
    base, brier = float(followed / rows), float(square_N.sum() / rows)
    return Reliability(
        base,
        brier,
        _skill(square_N, rows_NB.sum(axis=1), followed_NB.sum(axis=1), bootstrap),
        _ece(rows_NB, risk_NB, followed_NB, bootstrap),
        _per_bin(risk_NB, rows_NB),
        _per_bin(followed_NB, rows_NB),
        tuple(rows_NB.sum(axis=0).astype(int).tolist()),
    )


def _untold(why: str) -> Reliability:
    nothing = (None,) * NUM_BINS
    return Reliability(
        None, None, Estimate(None, why=why), Estimate(None, why=why), nothing, nothing, (0,) * NUM_BINS
    )


def _sums(
    run: ScoredRun, risk_R: FloatArray | None, horizon: str
) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """Squared error over all rows; and by bin the rows, their risks, and those that were followed."""
    nothing = np.zeros(NUM_BINS)
    if risk_R is None or run.is_exogenous:
        return 0.0, nothing, nothing, nothing
    rows = np.arange(run.num_rows if run.onset is None else run.onset)
    risk = risk_R[rows]
    is_told = ~np.isnan(risk)
    rows, risk = rows[is_told], np.clip(risk[is_told], 0.0, 1.0)
    is_followed = np.zeros(len(rows))
    if run.onset is not None:
        is_followed = (run.onset - rows <= horizon_steps(horizon, run.total_steps)).astype(np.float64)
    bins = np.minimum(NUM_BINS - 1, (NUM_BINS * risk).astype(np.int64))
    return (
        float(((risk - is_followed) ** 2).sum()),
        np.bincount(bins, minlength=NUM_BINS).astype(np.float64),
        np.bincount(bins, weights=risk, minlength=NUM_BINS).astype(np.float64),
        np.bincount(bins, weights=is_followed, minlength=NUM_BINS).astype(np.float64),
    )


def _skill(
    square_N: FloatArray, rows_N: FloatArray, followed_N: FloatArray, bootstrap: Bootstrap
) -> Estimate:
    """1 - Brier score / that of the climatology."""
    base = followed_N.sum() / rows_N.sum()
    if base in (0.0, 1.0):
        return Estimate(None, why=NO_CHOICE)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows, followed = bootstrap.sums(rows_N), bootstrap.sums(followed_N)
        replicates = 1 - bootstrap.sums(square_N) / (followed * (1 - followed / rows))
    return interval(1 - float(square_N.sum() / (followed_N.sum() * (1 - base))), replicates)


def _ece(rows_NB: FloatArray, risk_NB: FloatArray, followed_NB: FloatArray, bootstrap: Bootstrap) -> Estimate:
    """The distance of risk and outcome in each bin, weighted by its rows."""
    value = float(np.abs(risk_NB.sum(axis=0) - followed_NB.sum(axis=0)).sum() / rows_NB.sum())
    distances = np.abs(bootstrap.sums(risk_NB.T) - bootstrap.sums(followed_NB.T)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return interval(value, distances / bootstrap.sums(rows_NB.sum(axis=1)))


def _per_bin(above_NB: FloatArray, rows_NB: FloatArray) -> tuple[float | None, ...]:
    rows = rows_NB.sum(axis=0)
    return tuple(
        float(above / count) if count else None
        for above, count in zip(above_NB.sum(axis=0), rows, strict=True)
    )
