"""One run of a collector: what it is, and its numbers as arrays."""

import difflib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from foreshock.query.arrays import layer_map, series_buckets
from foreshock.query.connection import Connection
from foreshock.query.errors import MissingLibraryError, UnknownColumnError
from foreshock.query.frames import Frames, Selection, Values, join_values, read_frames
from foreshock.query.pages import all_of
from foreshock.wire.readings import LayerMap, SeriesBuckets

if TYPE_CHECKING:
    import pandas

_MOST_COLUMNS = 100


class Run:
    """One run. What it says of itself is as it was when it was read; `refresh` reads it again.

    `facts` is the collector's own description, as `GET /runs/{run_id}` gives it or, of a run from a
    list, a little less.
    """

    def __init__(self, connection: Connection, facts: dict[str, Any]) -> None:
        self._connection = connection
        self.facts = facts

    def __repr__(self) -> str:
        return f"<Run {self.run_id} {self.name!r} {self.state} at step {self.last_step}>"

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.facts["run_id"])

    @property
    def name(self) -> str:
        """The name that people know it by."""
        return str(self.facts["name"])

    @property
    def project(self) -> str:
        """The project that it belongs to."""
        return str(self.facts["project"])

    @property
    def state(self) -> str:
        """running, finished, crashed or lost."""
        return str(self.facts["state"])

    @property
    def last_step(self) -> int:
        """The newest step, -1 before the first."""
        return int(self.facts["last_step"])

    @property
    def config(self) -> dict[str, Any]:
        """The configuration that it was declared with."""
        return dict(self.facts["config"])

    def refresh(self) -> "Run":
        """Reads again what the run says of itself; the run."""
        self.facts = self._connection.get(self._path)
        return self

    def columns(self) -> list[str]:
        """Every column of the newest attempt: `loss`, `layer_amax_forward_max[0]`, ..."""
        if "series" not in self.facts:
            self.refresh()
        found = []
        for one in self.facts["series"]:
            layers = one["layers"]
            found += [one["series"]] if layers is None else [f"{one['series']}[{n}]" for n in range(layers)]
        return found

    def series(
        self,
        *columns: str,
        start: int | None = None,
        stop: int | None = None,
        buckets: int = 500,
        attempt: int | None = None,
    ) -> dict[str, SeriesBuckets]:
        """Columns by step in at most so many buckets of one width, ranks joined; arrays [k].

        A bucket keeps its minimum and maximum, so no spike is lost. A column that the run lacks is not
        in the answer.

            loss = run.series("loss")["loss"]
            plt.fill_between(loss.first_step, loss.minimum, loss.maximum)
        """
        found: dict[str, SeriesBuckets] = {}
        for place in range(0, len(columns), _MOST_COLUMNS):
            part = list(columns[place : place + _MOST_COLUMNS])
            told = self._get("/series", column=part, start=start, stop=stop, buckets=buckets, attempt=attempt)
            found |= {one["column"]: series_buckets(one, told["bucket_width"]) for one in told["series"]}
        return found

    def map(
        self,
        series: str,
        *,
        start: int | None = None,
        stop: int | None = None,
        buckets: int = 400,
        attempt: int | None = None,
    ) -> LayerMap:
        """A per-layer series as arrays [layers, k]: minimum, maximum and mean of each cell, ranks joined.

        Raises ProblemError where the run has no such series.
        """
        return layer_map(
            self._get("/map", series=series, start=start, stop=stop, buckets=buckets, attempt=attempt)
        )

    def values(
        self,
        column: str,
        *,
        rank: int = 0,
        start: int | None = None,
        stop: int | None = None,
        attempt: int | None = None,
    ) -> Values:
        """One column of one rank at full resolution: steps int64 [k] and values float32 [k].

            steps, loss = run.values("loss")

        Raises UnknownColumnError where the run has no such column.
        """
        pieces = self.frames([column], rank=rank, start=start, stop=stop, attempt=attempt)
        return join_values(list(pieces), column)

    def values_by_rank(
        self,
        column: str,
        *,
        start: int | None = None,
        stop: int | None = None,
        attempt: int | None = None,
    ) -> dict[int, Values]:
        """The same of every rank that told it, by rank."""
        of_rank: dict[int, list[Frames]] = defaultdict(list)
        for frames in self.frames([column], start=start, stop=stop, attempt=attempt):
            of_rank[frames.rank].append(frames)
        return {rank: join_values(pieces, column) for rank, pieces in of_rank.items()}

    def frames(
        self,
        columns: Sequence[str] | None = None,
        *,
        rank: int | None = None,
        start: int | None = None,
        stop: int | None = None,
        attempt: int | None = None,
    ) -> Iterator[Frames]:
        """Everything, or some columns, as it was told, a block at a time: for runs larger than memory.

        Raises UnknownColumnError for a column that the newest attempt lacks, where no other is asked for.
        """
        if columns is not None and attempt is None:
            self._check(columns)
        return read_frames(self._connection, self._path, Selection(columns, attempt, rank, start, stop))

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        rank: int = 0,
        start: int | None = None,
        stop: int | None = None,
        attempt: int | None = None,
    ) -> "pandas.DataFrame":
        """Columns of one rank at full resolution as a pandas frame, indexed by step; NaN where absent.

            run.frame(["loss", "grad_norm"]).rolling(100).median()

        Raises MissingLibraryError without pandas, which the extra `exchange` brings.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingLibraryError("frame needs pandas: pip install 'foreshock[exchange]'") from error
        pieces = list(self.frames(columns, rank=rank, start=start, stop=stop, attempt=attempt))
        names = columns or list(dict.fromkeys(name for frames in pieces for name in frames.columns))
        by_name: dict[str, list[Frames]] = defaultdict(list)
        for frames in pieces:
            for name in frames.columns:
                by_name[name].append(frames)
        found = {name: join_values(by_name[name], name) for name in names}
        series = {name: pandas.Series(one.values, one.steps) for name, one in found.items()}
        return pandas.DataFrame(series).rename_axis("step").sort_index()

    def latest(self) -> dict[str, float]:
        """The newest value of every column, ranks joined."""
        return {name: float(value) for name, value in self._get("/latest")["values"].items()}

    def events(self) -> list[dict[str, Any]]:
        """What the probes told of besides numbers: schedule, note, rollback, finished, crashed."""
        return list(self._get("/events")["events"])

    def alerts(self) -> list[dict[str, Any]]:
        """The run's alerts, those that changed last first."""
        return list(all_of(self._connection, f"{self._path}/alerts", "alerts", {}))

    def _check(self, columns: Sequence[str]) -> None:
        known = set(self.columns())
        if not known.issuperset(columns):
            known = set(self.refresh().columns())
        for name in columns:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), 3, 0.5)
                hint = f"near it: {', '.join(near)}" if near else f"it has {len(known)}, see columns()"
                raise UnknownColumnError(f"run {self.run_id} has no column {name!r}; {hint}")

    @property
    def _path(self) -> str:
        return f"/runs/{quote(self.run_id, safe='')}"

    def _get(self, what: str, **query: Any) -> dict[str, Any]:
        told: dict[str, Any] = self._connection.get(f"{self._path}{what}", **query)
        return told
