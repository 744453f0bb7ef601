"""Numbers of one run: bucketed series, layer-by-step maps, latest values, events."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.api.answer import Answer, StoredRunDep
from foreshock.server.errors import UnknownSeriesError
from foreshock.wire import parse_column
from foreshock.wire.readings import SeriesBuckets, Window

router = APIRouter(tags=["series"])

Name = Annotated[str, Field(max_length=130)]


class WindowQuery(BaseModel):
    """Which part of a run is asked for, and in how many buckets at most."""

    model_config = ConfigDict(extra="forbid")

    attempt: int | None = Field(None, ge=0, le=2**30, description="Default: the newest.")
    start: int | None = Field(None, ge=0, le=2**53, description="First step; default: the run's first.")
    stop: int | None = Field(None, ge=0, le=2**53, description="Last step, inclusive; default: the newest.")
    buckets: int = Field(500, ge=1, le=5000)

    def window(self) -> Window:
        """The window that the store understands."""
        return Window(self.start, self.stop, self.buckets, self.attempt)


class SeriesQuery(WindowQuery):
    """Which columns are asked for."""

    column: list[Name] = Field(
        min_length=1, max_length=100, examples=[["loss", "layer_amax_forward_mean[0]"]]
    )


class MapQuery(WindowQuery):
    """Which per-layer series is asked for."""

    series: Name = Field(examples=["layer_amax_forward_max"])
    buckets: int = Field(400, ge=1, le=5000)


@router.get("/runs/{run_id}/series", response_class=Answer)
def read_series(run: StoredRunDep, query: Annotated[SeriesQuery, Query()]) -> Answer:
    """Buckets of some columns, each with its minimum and maximum, so that no spike is lost.

    Widths are powers of two and edges multiples of them; columns that the run lacks are in `unknown`.
    A mean is over the finite values of its bucket; the mean of one value is that value.
    """
    for name in query.column:
        parse_column(name)
    window = query.window()
    attempt = run.found_attempt(window)
    found = run.series(tuple(query.column), window)
    known = {buckets.column for buckets in found}
    return Answer(
        {
            "run_id": run.run_id,
            "attempt": attempt,
            "bucket_width": found[0].bucket_width if found else 1,
            "unknown": [name for name in dict.fromkeys(query.column) if name not in known],
            "series": [_series(buckets) for buckets in found],
        }
    )


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
        raise UnknownSeriesError(
            f"run {run.run_id} has no per-layer series {query.series!r}: "
            f"GET /api/v1/runs/{run.run_id} lists its series"
        )
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
def read_latest(run: StoredRunDep) -> Answer:
    """The newest value of every column."""
    return Answer(run.latest())


@router.get("/runs/{run_id}/events", response_class=Answer)
def read_events(run: StoredRunDep) -> Answer:
    """What the probes told of besides numbers: schedule, note, rollback, finished, crashed."""
    return Answer({"run_id": run.run_id, "events": run.events()})


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
