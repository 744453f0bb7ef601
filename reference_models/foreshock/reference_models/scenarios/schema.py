"""A scenario: a TOML file that says what is trained, what is done to it, and over which grid and seeds.

    [scenario]            name, family, class, why; title and seeds if wanted
    [model]               the fields of ModelConfig
    [train]               the fields of TrainConfig
    [data]                text (as --data takes it), and the mix of domains
    [[fault]]             one fault each: its kind, its step, its own fields
    [stress_forks]        at, seeds, control: the runs that `foreshock scenarios fork` puts under stress
    [grid]                train.learning_rate = [1e-3, 3e-3]: every combination is a run, with every seed

All runs of a file are built when it is read, so what cannot be is refused before anything is trained.
"""

import copy
import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

from foreshock.reference_models.errors import ConfigError, ScenarioError
from foreshock.reference_models.scenarios.plain_values import ValueRefused, build, check_keys
from foreshock.reference_models.scenarios.stress_forks import MAX_FORKED_RUNS, StressForks
from foreshock.reference_models.scenarios.toml_file import Place, TomlFile, dotted
from foreshock.reference_models.train import TrainConfig

ScenarioClass = Literal["endogenous", "latent", "slow", "exogenous", "negative"]

SECTIONS: Final = ("scenario", "model", "train", "data", "fault", "grid", "stress_forks")
# What [data] says in words of its own, and what of TrainConfig is not for [train] to say
DATA_FIELDS: Final = {"text": "data", "mix": "mix"}
NOT_OF_TRAIN: Final = frozenset(("model", "seed", "faults", *DATA_FIELDS.values()))
MAX_RUNS: Final = 10_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class Header:
    """The table [scenario]; its key `class` is `expected` here: what the runs are meant to show."""

    name: str
    family: str
    expected: ScenarioClass
    why: str
    title: str = ""
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ScenarioError(
                f"name is {self.name!r}; give 1 to 40 of a-z, 0-9, '_', '.' and '-', a letter or digit first"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ScenarioError(f"seeds is {list(self.seeds)}; give at least one, and each once")


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One training of a scenario: a point of its grid with a seed. The same file gives the same `run_id`.

    `grid` has all values of each axis, in the order of the file.
    """

    run_id: str
    header: Header
    grid: dict[str, list[Any]]
    point: dict[str, Any]
    seed: int
    config: TrainConfig
    forks: StressForks | None = None

    @property
    def variant(self) -> str:
        """The point in words: `learning_rate=0.003 num_blocks=12`."""
        return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in self.point.items())


@dataclass(frozen=True, slots=True)
class Scenario:
    """A file that has been read, with all its runs."""

    path: Path
    header: Header
    runs: tuple[PlannedRun, ...]

    def run(self, run_id: str) -> PlannedRun:
        """The run of that name; raises ScenarioError where there is none."""
        for run in self.runs:
            if run.run_id == run_id:
                return run
        raise ScenarioError(f"{self.path} has no run {run_id}; its first is {self.runs[0].run_id}")


def load_scenario(path: Path) -> Scenario:
    """Reads a file and plans its runs; raises ScenarioError that names file, line and what to write."""
    file = TomlFile.read(path)
    try:
        return Scenario(path, *_planned(file.tables))
    except ValueRefused as refusal:
        raise file.blame(refusal.place, refusal.message) from refusal


def _planned(tables: dict[str, Any]) -> tuple[Header, tuple[PlannedRun, ...]]:
    check_keys(tables, SECTIONS, ())
    for section in ("scenario", "train"):
        if section not in tables:
            raise ValueRefused((), f"the table [{section}] is missing")
    header = _header(tables["scenario"])
    axes = dict(_axes(tables.get("grid", {}), ()))
    num_runs = len(header.seeds) * math.prod(map(len, axes.values()))
    if num_runs > MAX_RUNS:
        raise ValueRefused(("grid",), f"the grid makes {num_runs} runs; at most {MAX_RUNS} are allowed")
    forks = _forks(tables, header)
    given: dict[str, Any] = {section: tables[section] for section in SECTIONS[1:5] if section in tables}
    runs = []
    for point, seed in product(_points(axes), header.seeds):
        try:
            config = _config(_with(given, point), seed)
        except ValueRefused as refusal:
            raise _in_grid(refusal, point) from refusal
        asked = forks if forks and (not forks.seeds or seed in forks.seeds) else None
        if asked:
            _check_forks(asked, config)
        runs.append(PlannedRun(_run_id(header.name, point, seed), header, axes, point, seed, config, asked))
    try:
        check_num_forked(runs)
    except ScenarioError as error:
        raise ValueRefused(("stress_forks",), str(error)) from error
    return header, tuple(runs)


def _header(table: Any) -> Header:
    """The header, whose `class` no Python name can be."""
    if not isinstance(table, dict):
        raise ValueRefused(("scenario",), "scenario is no table; write [scenario]")
    fields = [field.name for field in dataclasses.fields(Header) if field.name != "expected"]
    check_keys(table, [*fields, "class"], ("scenario",))
    if "class" not in table:
        raise ValueRefused(("scenario",), "scenario.class is missing; every scenario has one")
    renamed = {"expected" if key == "class" else key: value for key, value in table.items()}
    try:
        return build(Header, renamed, ("scenario",))
    except ValueRefused as refusal:
        if refusal.place[-1] != "expected":
            raise
        message = refusal.message.replace("scenario.expected", "scenario.class")
        raise ValueRefused(("scenario", "class"), message) from refusal


def check_num_forked(runs: Sequence[PlannedRun]) -> None:
    """Raises ScenarioError where more runs ask for stress forks than a split may."""
    num_forked = sum(run.forks is not None for run in runs)
    if num_forked > MAX_FORKED_RUNS:
        raise ScenarioError(
            f"stress_forks is asked for {num_forked} runs; at most {MAX_FORKED_RUNS} of a split are forked: "
            "give fewer stress_forks.seeds, or put the runs that matter in a file of their own"
        )


def _forks(tables: dict[str, Any], header: Header) -> StressForks | None:
    """The table [stress_forks], where there is one."""
    if "stress_forks" not in tables:
        return None
    forks = build(StressForks, tables["stress_forks"], ("stress_forks",))
    for seed in forks.seeds:
        if seed not in header.seeds:
            raise ValueRefused(
                ("stress_forks", "seeds"),
                f"stress_forks.seeds holds {seed}; give some of scenario.seeds, {list(header.seeds)}",
            )
    return forks


def _check_forks(forks: StressForks, config: TrainConfig) -> None:
    try:
        forks.check(config)
    except ConfigError as error:
        raise ValueRefused(("stress_forks", "at"), f"stress_forks: {error}") from error


def _config(tables: dict[str, Any], seed: int) -> TrainConfig:
    """The training of one run, from plain tables to the trainer's own dataclass."""
    allowed = {field.name for field in dataclasses.fields(TrainConfig)}
    for section in ("model", "train", "data"):
        if not isinstance(tables.get(section, {}), dict):
            raise ValueRefused((section,), f"{section} is no table; write [{section}]")
    check_keys(tables["train"], allowed - NOT_OF_TRAIN, ("train",))
    known = {word: name for word, name in DATA_FIELDS.items() if name in allowed}
    check_keys(tables.get("data", {}), known, ("data",))
    whole = dict(tables["train"]) | {"model": tables.get("model", {}), "seed": seed, "device": "cpu"}
    whole |= {known[word]: value for word, value in tables.get("data", {}).items()}
    if "fault" in tables:
        if "faults" not in allowed:
            raise ValueRefused(
                ("fault",), "this version of the trainer plants no faults; leave [[fault]] out"
            )
        whole["faults"] = tables["fault"]
    try:
        config = build(TrainConfig, whole)
    except ValueRefused as refusal:
        place = _written_place(refusal.place, known)
        raise ValueRefused(place, _in_words(refusal, place)) from refusal
    _check_fault_steps(config)
    return config


def _written_place(place: Place, data_words: dict[str, str]) -> Place:
    """Where in the file a field of TrainConfig is written."""
    word_of_field = {name: ("data", word) for word, name in data_words.items()}
    match place:
        case ("model", *_) | ():
            return place
        case ("faults", *rest):
            return ("fault", *rest)
        case (str(name), *rest) if name in word_of_field:
            return (*word_of_field[name], *rest)
        case ("seed", *_):
            return ("scenario", "seeds")
        case _:
            return ("train", *place)


def _in_words(refusal: ValueRefused, place: Place) -> str:
    """The message with the place as it is written in the file."""
    return (
        refusal.message.replace(dotted(refusal.place), dotted(place), 1) if refusal.place else refusal.message
    )


def _check_fault_steps(config: TrainConfig) -> None:
    for number, fault in enumerate(getattr(config, "faults", ())):
        if fault.step >= config.num_steps:
            raise ValueRefused(
                ("fault", number, "step"),
                f"fault[{number}].step is {fault.step}, but the last step is {config.num_steps - 1}; "
                "give an earlier one, or more train.num_steps",
            )


def _points(axes: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the grid's lists, as dotted keys and values; one empty point without a grid."""
    for values in product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def _axes(table: Any, place: Place) -> Iterator[tuple[str, list[Any]]]:
    if isinstance(table, dict):
        for key, value in table.items():
            yield from _axes(value, (*place, key))
        return
    where = ("grid", *place)
    if not isinstance(table, list) or not table:
        raise ValueRefused(where, f"{dotted(where)} is {table!r}; give a list of values")
    if any(value in table[:number] for number, value in enumerate(table)):
        raise ValueRefused(where, f"{dotted(where)} holds a value twice; give each once")
    if place[0] not in ("model", "train", "data", "fault") or len(place) < 2:
        raise ValueRefused(where, f"{dotted(where)}: a grid is over keys of model, train, data or fault")
    yield dotted(place), table


def _in_grid(refusal: ValueRefused, point: dict[str, Any]) -> ValueRefused:
    """The refusal at the grid's own key, where the value came from there."""
    for key in point:
        if dotted(refusal.place).startswith(key):
            return ValueRefused(("grid", *key.split(".")), f"grid.{key}: {refusal.message}")
    return refusal


def _with(tables: dict[str, Any], point: dict[str, Any]) -> dict[str, Any]:
    """The tables with the point's values in their places; a grid over `fault` is over the only one."""
    changed = copy.deepcopy(tables)
    for key, value in point.items():
        section, *rest = key.split(".")
        table = changed.setdefault(section, {})
        if section == "fault":
            if not isinstance(table, list) or len(table) != 1:
                raise ValueRefused(("grid", "fault"), f"grid.{key} needs exactly one [[fault]]")
            table = table[0]
        for part in rest[:-1]:
            table = table.setdefault(part, {})
        table[rest[-1]] = value
    return changed


def _run_id(name: str, point: dict[str, Any], seed: int) -> str:
    """The scenario's name, six digits that stand for the point, the seed."""
    if not point:
        return f"{name}-s{seed}"
    digest = hashlib.sha256(json.dumps(point, sort_keys=True, default=str).encode()).hexdigest()
    return f"{name}-{digest[:6]}-s{seed}"
