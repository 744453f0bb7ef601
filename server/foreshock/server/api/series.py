"""Numbers of runs: bucketed series, layer-by-step maps, quantiles over layers, latest values, events."""

from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshock.server.api.answer import Answer, CallerDep, CollectorDep, StoredRunDep, seen_run
from foreshock.server.errors import UnknownSeriesError
from foreshock.server.store.quantiles import layer_quantiles
from foreshock.server.store.read import StoredRun, common_width
from foreshock.wire import parse_column
from foreshock.wire.readings import SeriesBuckets, Window

router = APIRouter(tags=["series"])

Name = Annotated[str, Field(max_length=130)]
# Buckets of all columns (and runs) of one answer
MAX_BUCKETS = 1_000_000


class WindowQuery(BaseModel):
    """Which part of a run is asked for, and in how many buckets at most."""

    model_config = ConfigDict(extra="forbid")

    attempt: int | None = Field(None, ge=0, le=2**30, description="Default: the newest.")
    start: int | None = Field(None, ge=0, le=2**53, description="First step; default: the run's first.")
    stop: int | None = Field(None, ge=0, le=2**53, description="Last step, inclusive; default: the newest.")
    around: int | None = Field(
        None, ge=0, le=2**53, description="A step in whose neighbourhood to look, instead of start and stop."
    )
    reach: int = Field(200, ge=0, le=2**53, description="How many steps before and after `around`.")
    buckets: int = Field(500, ge=1, le=100_000)

    @model_validator(mode="after")
    def _either_ends_or_a_middle(self) -> Self:
        if self.around is not None and (self.start is not None or self.stop is not None):
            raise ValueError("give either start and stop, or around and reach")
        return self

    def window(self) -> Window:
        """The window that the store understands."""
        if self.around is None:
            return Window(self.start, self.stop, self.buckets, self.attempt)
        return Window(max(0, self.around - self.reach), self.around + self.reach, self.buckets, self.attempt)


class SeriesQuery(WindowQuery):
    """Which columns are asked for."""

    column: list[Name] = Field(
        min_length=1, max_length=100, examples=[["loss", "layer_amax_forward_mean[0]"]]
    )

    @model_validator(mode="after")
    def _answers_stay_small(self) -> Self:
        if len(self.column) * self.num_runs * self.buckets > MAX_BUCKETS:
            raise ValueError(
                f"{len(self.column)} columns of {self.num_runs} runs in {self.buckets} buckets; at most "
                f"{MAX_BUCKETS} buckets are allowed in all: ask for fewer at a time, or page through /frames"
            )
        return self

    @property
    def num_runs(self) -> int:
        """How many runs the answer is of."""
        return 1


class RunsSeriesQuery(SeriesQuery):
    """The same columns of several runs."""

    run: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=50)

    @property
    def num_runs(self) -> int:
        """How many runs the answer is of."""
        return len(self.run)


class MapQuery(WindowQuery):
    """Which per-layer series is asked for."""

    series: Name = Field(examples=["layer_amax_forward_max"])
    buckets: int = Field(400, ge=1, le=5000)


class QuantilesQuery(MapQuery):
    """Which quantiles over the layers, of what each layer showed in a bucket."""

    quantile: list[Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]] = Field(
        [0.0, 0.25, 0.5, 0.75, 1.0], min_length=1, max_length=20
    )
    of: Literal["min", "max", "mean"] = Field("max", description="What stands for a layer in a bucket.")


@router.get("/runs/{run_id}/series", response_class=Answer)
def read_series(run: StoredRunDep, query: Annotated[SeriesQuery, Query()]) -> Answer:
    """Buckets of some columns, each with its minimum and maximum, so that no spike is lost.

    Widths are powers of two and edges multiples of them; columns that the run lacks are in `unknown`.
    A mean is over the finite values of its bucket; the mean of one value is that value.
    """
    for name in query.column:
        parse_column(name)
    window = query.window()
    width = common_width([run], tuple(query.column), window)
    return Answer({"bucket_width": width, **_run_series(run, tuple(query.column), window, width)})


@router.get("/series", response_class=Answer)
def read_runs_series(
    query: Annotated[RunsSeriesQuery, Query()], collector: CollectorDep, caller: CallerDep
) -> Answer:
    """The same columns of several runs, all in buckets of one width, to be laid over one another."""
    for name in query.column:
        parse_column(name)
    window, columns = query.window(), tuple(query.column)
    readers = [seen_run(run_id, collector, caller) for run_id in dict.fromkeys(query.run)]
    width = common_width(readers, columns, window)
    return Answer(
        {"bucket_width": width, "runs": [_run_series(run, columns, window, width) for run in readers]}
    )


def _run_series(run: StoredRun, columns: tuple[str, ...], window: Window, width: int) -> dict[str, Any]:
    attempt = run.found_attempt(window)
    found = run.series(columns, window, width)
    known = {buckets.column for buckets in found}
    return {
        "run_id": run.run_id,
        "attempt": attempt,
        "unknown": [name for name in dict.fromkeys(columns) if name not in known],
        "series": [_series(buckets) for buckets in found],
    }


@router.get("/runs/{run_id}/quantiles", response_class=Answer)
def read_quantiles(run: StoredRunDep, query: Annotated[QuantilesQuery, Query()]) -> Answer:
    """Quantiles over the layers of one per-layer series, bucket by bucket: arrays [quantiles, buckets].

    Each is the value of some layer, never between two. A layer that tells nothing in a bucket has no part
    in it, one that was NaN throughout counts in `nan`.
    """
    parse_column(query.series)
    window = query.window()
    attempt = run.found_attempt(window)
    found = layer_quantiles(run, query.series, window, query.quantile, query.of)
    if found is None:
        raise _unknown_series(run, query.series)
    return Answer({"run_id": run.run_id, "attempt": attempt, "series": query.series, **found})


@router.get("/runs/{run_id}/map", response_class=Answer)
def read_map(run: StoredRunDep, query: Annotated[MapQuery, Query()]) -> Answer:
    """One per-layer series as maps layer by step: minimum, maximum and mean of each cell.

    `age` counts the columns since a cell's value was told, 0 in its own; -1 where none is known.
    """
    parse_column(query.series)
    window = query.window()
    attempt = run.found_attempt(window)
    found = run.layer_map(query.series, window)
    if found is None:
        raise _unknown_series(run, query.series)
    return Answer(
        {
            "run_id": run.run_id,
            "attempt": attempt,
            "series": found.series,
            "layers": len(found.maximum),
            "bucket_width": found.bucket_width,
            "first_step": found.first_step,
            "min": found.minimum,
            "max": found.maximum,
            "mean": found.mean,
            "age": found.age,
        }
    )


@router.get("/runs/{run_id}/latest", response_class=Answer)
def read_latest(
    run: StoredRunDep,
    series: Annotated[
        list[Name],
        Query(default_factory=list, max_length=100, description="Of these series only; default: all."),
    ],
) -> Answer:
    """The newest value of every column, or of the columns of some series; what a run lacks is left out."""
    return Answer(run.latest(frozenset(series)))


@router.get("/runs/{run_id}/events", response_class=Answer)
def read_events(run: StoredRunDep) -> Answer:
    """What the probes told of besides numbers: schedule, note, rollback, finished, crashed."""
    return Answer({"run_id": run.run_id, "events": run.events()})


def _unknown_series(run: StoredRun, series: str) -> UnknownSeriesError:
    return UnknownSeriesError(
        f"run {run.run_id} has no per-layer series {series!r}: GET /api/v1/runs/{run.run_id} lists its series"
    )


def _series(buckets: SeriesBuckets) -> dict[str, Any]:
    return {
        "column": buckets.column,
        "first_step": buckets.first_step,
        "last_step": buckets.last_step,
        "count": buckets.count,
        "nonfinite": buckets.nonfinite,
        "min": buckets.minimum,
        "max": buckets.maximum,
        "mean": buckets.mean,
        "first": buckets.first,
        "last": buckets.last,
    }
