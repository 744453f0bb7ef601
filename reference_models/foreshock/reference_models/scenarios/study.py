"""What a study's axes do: outcomes cell by cell, and what changes when one axis does, with intervals.

A study is all runs of one family. Its axes are the keys of its grids, and the scenario's name where several
files share the family. The last value of each axis, taken together, is the reference; an effect is the
first value (or each other one) minus the last, at the reference of all other axes ("alone") or averaged
over their values ("on average"). Runs are paired by seed, and the seed is the unit, so that 20 runs of 5
seeds count as 5: the interval is Student's over the seeds' differences, and for the share that failed
Newcombe's, since differences of 0 and 1 that all agree have no variance to go by.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats

from foreshock.reference_models.errors import RecordError
from foreshock.reference_models.scenarios.baseline import FloatArray
from foreshock.reference_models.scenarios.labelling import LabelledRun, label_directory
from foreshock.reference_models.scenarios.labels import Labels
from foreshock.reference_models.scenarios.loss_curve import IntArray, LossCurve
from foreshock.reference_models.scenarios.record import read_record
from foreshock.reference_models.scenarios.spikes import SpikeSearch

SCENARIO: Final = "scenario"
CONFIDENCE: Final = 0.95
LATE_SHARE: Final = 0.2

Cell = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Harm:
    """What became of one run.

    `failed`: the labeller finds an event. `late_loss`: mean loss over the last fifth of the planned steps.
    `largest_rise`: how far a loss came to lie above the line that the losses before it foretold. Both in
    nats, and a step that is not finite or was not trained counts as the run's first loss, since a dead
    model knows nothing.
    """

    failed: bool
    late_loss: float
    largest_rise: float

    @classmethod
    def of(cls, labels: Labels, steps: IntArray, losses: FloatArray) -> "Harm":
        """The outcome of a labelled loss curve; of a step trained twice the last loss counts."""
        curve = LossCurve.of(losses, steps, labels.total_steps)
        loss_at = np.full(labels.total_steps, np.nan)
        loss_at[steps] = losses
        late = loss_at[math.ceil((1 - LATE_SHARE) * labels.total_steps) :]
        late_loss = float(np.where(np.isfinite(late), late, losses[0]).mean())
        level = SpikeSearch(curve, labels.rules).run().baseline.level
        rise = np.where(curve.is_finite, losses, losses[0]) - level
        return cls(labels.is_positive, late_loss, float(np.nanmax(rise, initial=0.0)))


HARMS: Final = tuple(Harm.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over seeds, or a difference of two, with its interval; bounds are NaN where there is none."""

    mean: float
    low: float
    high: float
    num_seeds: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves 0 out; False where there is none."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float]) -> Interval:
    """Student's interval of a mean; there is none for one value."""
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, math.nan, math.nan, count)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half, count)


def share_interval(values: Sequence[float]) -> Interval:
    """Wilson's interval of a share: five of five is no proof of all (J. Am. Stat. Assoc. 22, 1927)."""
    share, count = float(np.mean(values)), len(values)
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half), count)


def share_difference(ones: Sequence[float], twos: Sequence[float]) -> Interval:
    """Newcombe's interval of a difference of two shares, from Wilson's (Stat. Med. 17, 1998, method 10)."""
    one, two = share_interval(ones), share_interval(twos)
    mean = one.mean - two.mean
    low = mean - math.hypot(one.mean - one.low, two.high - two.mean)
    high = mean + math.hypot(one.high - one.mean, two.mean - two.low)
    return Interval(mean, low, high, one.num_seeds)


@dataclass(frozen=True, slots=True)
class CellHarm:
    """One cell of a study: the values of its axes, and each harm over its seeds."""

    cell: Cell
    harms: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Effect:
    """What `value` of `axis` in the place of `reference` does to each harm, alone and on average."""

    axis: str
    value: str
    reference: str
    alone: dict[str, Interval]
    on_average: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Study:
    """The cells and effects of one family. `num_left_out` runs could not be labelled."""

    family: str
    axes: tuple[str, ...]
    cells: tuple[CellHarm, ...]
    effects: tuple[Effect, ...]
    num_left_out: int

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def study_directory(directory: Path, family: str) -> Study:
    """The study of a family in a folder of records, labelled afresh; see `study`."""
    runs = label_directory(directory)

    def harm_of(run: LabelledRun) -> Harm:
        assert run.labels is not None, "study asks for the harm of labelled runs only"
        return Harm.of(run.labels, *read_record(directory / run.run_id, verify=False).losses())

    return study(family, runs, harm_of)


def study(family: str, runs: Sequence[LabelledRun], harm_of: Callable[[LabelledRun], Harm]) -> Study:
    """The study of a family's labelled runs.

    Raises RecordError where the runs form no study: no axis, cells that are missing, seeds that differ.
    """
    known = [run for run in runs if run.labels is not None and run.manifest["family"] == family]
    if not known:
        raise RecordError(f"no labelled run is of the family {family!r}; {_families_in_words(runs)}")
    axes = _axes(known)
    if not axes:
        raise RecordError(f"the runs of {family!r} differ in nothing but their seeds; a study needs a grid")
    harms: dict[Cell, dict[int, Harm]] = {}
    for run in known:
        point = _point(run)
        cell = tuple(point.get(axis, "-") for axis in axes)
        harms.setdefault(cell, {})[run.manifest["seed"]] = harm_of(run)
    missing = [cell for cell in product(*axes.values()) if cell not in harms]
    if missing:
        raise RecordError(
            f"{family!r} lacks {len(missing)} of its cells, the first {_in_words(tuple(axes), missing[0])}; "
            "train them with: foreshock scenarios run"
        )
    cells = tuple(CellHarm(cell, _each(list(harms[cell].values()))) for cell in product(*axes.values()))
    effects = tuple(
        _effect(axes, number, value, harms)
        for number, values in enumerate(axes.values())
        for value in values[:-1]
    )
    num_left_out = sum(run.labels is None and run.manifest.get("family") == family for run in runs)
    return Study(family, tuple(axes), cells, effects, num_left_out)


def _effect(
    axes: Mapping[str, tuple[str, ...]], number: int, value: str, harms: Mapping[Cell, Mapping[int, Harm]]
) -> Effect:
    """One axis at `value` in the place of its last value."""
    values = list(axes.values())
    reference = values[number][-1]

    def differences(others: Sequence[Cell]) -> dict[str, Interval]:
        ones = [harms[_replaced(cell, number, value)] for cell in others]
        twos = [harms[_replaced(cell, number, reference)] for cell in others]
        seeds = sorted(set.intersection(*map(set, (*ones, *twos))))
        if not seeds:
            raise RecordError(f"the cells of {list(axes)[number]} share no seed, so nothing can be paired")
        return {
            harm: _difference(harm, _by_seed(harm, ones, seeds), _by_seed(harm, twos, seeds))
            for harm in HARMS
        }

    at_reference = tuple(each[-1] for each in values)
    all_cells = [cell for cell in product(*values) if cell[number] == reference]
    return Effect(list(axes)[number], value, reference, differences([at_reference]), differences(all_cells))


def _replaced(cell: Cell, number: int, value: str) -> Cell:
    return (*cell[:number], value, *cell[number + 1 :])


def _by_seed(harm: str, cells: Sequence[Mapping[int, Harm]], seeds: Sequence[int]) -> list[float]:
    """For each seed the harm's mean over cells."""
    return [float(np.mean([getattr(cell[seed], harm) for cell in cells])) for seed in seeds]


def _difference(harm: str, ones: Sequence[float], twos: Sequence[float]) -> Interval:
    if harm == "failed":
        return share_difference(ones, twos)
    return mean_interval([one - two for one, two in zip(ones, twos, strict=True)])


def _each(harms: Sequence[Harm]) -> dict[str, Interval]:
    values = {name: [float(getattr(harm, name)) for harm in harms] for name in HARMS}
    return {
        name: (share_interval if name == "failed" else mean_interval)(each) for name, each in values.items()
    }


def _point(run: LabelledRun) -> dict[str, str]:
    """The run's place in its study, values in words."""
    point = {axis: _word(value) for axis, value in run.manifest["point"].items()}
    return point | {SCENARIO: run.manifest["scenario"]}


def _axes(runs: Sequence[LabelledRun]) -> dict[str, tuple[str, ...]]:
    """Every axis with more than one value, these in the order of the file's grid; scenarios by name."""
    values: dict[str, dict[str, None]] = {SCENARIO: {}}
    for run in sorted(runs, key=lambda run: str(run.manifest["scenario"])):
        values[SCENARIO][run.manifest["scenario"]] = None
        for axis, in_order in run.manifest["grid"].items():
            values.setdefault(axis, {}).update(dict.fromkeys(map(_word, in_order)))
    return {axis: tuple(each) for axis, each in values.items() if len(each) > 1}


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _in_words(axes: Sequence[str], cell: Cell) -> str:
    return ", ".join(f"{axis} = {value}" for axis, value in zip(axes, cell, strict=True))


def _families_in_words(runs: Sequence[LabelledRun]) -> str:
    families = sorted({str(run.manifest.get("family")) for run in runs})
    return f"there are {', '.join(families)}" if families else "there are none"
