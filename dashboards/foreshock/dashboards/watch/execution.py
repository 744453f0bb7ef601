"""What `foreshock watch` does: looks whenever something is new, and shows what has changed."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from rich.console import Console
from rich.live import Live

from foreshock.dashboards.names import printable
from foreshock.dashboards.watch.doorbell import Doorbell
from foreshock.dashboards.watch.glance import Glance, Look, LookAtAll, LookAtRun
from foreshock.dashboards.watch.view import list_view, plain_line, run_view
from foreshock.query.connection import Connection
from foreshock.query.errors import ProblemError, QueryError, UnreachableError

REFUSED: Final = 2
# News come more often than anybody reads; without news, what only a clock brings (silence) is looked for
_LEAST_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 5.0


class Screen(Protocol):
    """Where glances are shown."""

    def show(self, glances: Sequence[Glance], note: str) -> None:
        """What is seen now; `note` says how it is come by."""

    def away(self, words: str) -> None:
        """The collector does not answer; what was seen stays."""

    def close(self) -> None:
        """Leaves the terminal as it was found."""


def watch_command(
    run: str | None, project: str | None, url: str | None, token: str | None, *, once: bool, as_json: bool
) -> int:
    """The exit status: 0, or 2 where nothing could be seen, with one line on stderr that says why."""
    if run is not None and (project is not None or not run.strip()):
        words = (
            "a run is watched by its id alone, without --project" if run.strip() else "the run's id is empty"
        )
        print(f"foreshock watch: {words}; foreshock watch alone shows all that runs", file=sys.stderr)
        return REFUSED
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that lacks a character shows another
        sys.stdout.reconfigure(errors="replace")
    look = LookAtAll(project) if run is None else LookAtRun(run)
    try:
        with Connection(url, token, patience_seconds=0.0) as connection:
            glances = look(connection)
            screen = _screen(run is None, once=once, as_json=as_json)
            try:
                screen.show(glances, f"as of now, {connection.url}")
                if not once and not _has_ended(run, glances):
                    _follow(connection, run, look, screen)
            finally:
                screen.close()
    except QueryError as error:
        print(f"foreshock watch: {printable(error, 1000)}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        # Whoever read has left; the interpreter must not try to flush to them
        sys.stdout = None
    return 0


def _follow(connection: Connection, run: str | None, look: Look, screen: Screen) -> None:
    bell = Doorbell(connection, run)
    bell.start()
    try:
        while True:
            bell.wait(_MOST_SECONDS)
            try:
                glances = look(connection)
            except UnreachableError:
                screen.away(f"the collector at {connection.url} does not answer; trying again")
                time.sleep(_LEAST_SECONDS)
                continue
            except ProblemError as error:
                if error.code in ("unknown-run", "run-deleted"):
                    raise QueryError(f"run {run} is not there any more: it was deleted") from error
                if error.status < 500 and error.status != 429:
                    raise
                screen.away(f"the collector at {connection.url} is busy; trying again")
                time.sleep(_LEAST_SECONDS)
                continue
            screen.show(glances, f"{'live' if bell.is_live else 'every 5 s'}, {connection.url}, ctrl-C ends")
            if _has_ended(run, glances):
                return
            time.sleep(_LEAST_SECONDS)
    finally:
        bell.stop()


def _has_ended(run: str | None, glances: Sequence[Glance]) -> bool:
    return run is not None and all(one.has_ended for one in glances)


def _screen(is_list: bool, *, once: bool, as_json: bool) -> Screen:
    console = Console()
    if as_json or not console.is_terminal:
        return Lines(as_json=as_json)
    return Still(console, is_list) if once else Moving(console, is_list)


class Still:
    """A terminal that is written to once."""

    def __init__(self, console: Console, is_list: bool) -> None:
        self._console, self._is_list = console, is_list

    def show(self, glances: Sequence[Glance], note: str) -> None:
        """Prints the view."""
        self._console.print(_view(glances, self._console.width, note, self._is_list))

    def away(self, words: str) -> None:
        """Never asked: it looks once."""

    def close(self) -> None:
        """Nothing is held."""


class Moving:
    """A terminal in which the view is drawn anew in its place."""

    def __init__(self, console: Console, is_list: bool) -> None:
        self._console, self._is_list = console, is_list
        self._glances: Sequence[Glance] = ()
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._live.start()

    def show(self, glances: Sequence[Glance], note: str) -> None:
        """Draws the view."""
        self._glances = glances
        self._live.update(_view(glances, self._console.width, note, self._is_list), refresh=True)

    def away(self, words: str) -> None:
        """Draws what was seen last, and says that it is old."""
        note = f"{words} (last heard before {time.strftime('%H:%M:%S')})"
        self._live.update(_view(self._glances, self._console.width, note, self._is_list), refresh=True)

    def close(self) -> None:
        """The last view stays."""
        self._live.stop()


class Lines:
    """A pipe or a log: a line, or a JSON object, for each run whose health has changed."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._told: dict[str, tuple[Any, ...]] = {}
        self._is_away = False

    def show(self, glances: Sequence[Glance], note: str) -> None:
        """Prints what has changed."""
        if self._is_away:
            print("foreshock watch: the collector answers again", file=sys.stderr, flush=True)
            self._is_away = False
        for one in glances:
            facts, health = one.facts, one.health
            news = (
                facts["state"],
                *(health[name] for name in ("level", "word", "layer", "rule", "num_open")),
            )
            if self._told.get(facts["run_id"]) == news:
                continue
            self._told[facts["run_id"]] = news
            told = {"run_id": facts["run_id"], "state": facts["state"], "step": facts["last_step"], **health}
            print(json.dumps(told) if self._as_json else plain_line(one), flush=True)

    def away(self, words: str) -> None:
        """Says so once, on stderr."""
        if not self._is_away:
            print(f"foreshock watch: {words}", file=sys.stderr, flush=True)
        self._is_away = True

    def close(self) -> None:
        """Nothing is held."""


def _view(glances: Sequence[Glance], width: int, note: str, is_list: bool) -> Any:
    return list_view(glances, width, note) if is_list else run_view(glances[0], width, note)
