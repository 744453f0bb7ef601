"""`foreshock token`: makes, lists and revokes tokens. Nothing heavy is imported before it runs."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from foreshock.server.token_book import TokenBook

token = typer.Typer(
    help="Tokens: who may send, read or change what, in which project, and how much.", no_args_is_help=True
)

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LIFETIME: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")

Db = Annotated[str | None, typer.Option(help="SQLite file or postgresql:// address (default: foreshock.db).")]
Url = Annotated[
    str | None, typer.Option(help="A running collector, asked with FORESHOCK_TOKEN (default: FORESHOCK_URL).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@token.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for, such as the cluster or the person.")],
    scope: Annotated[
        list[str], typer.Option(help="ingest (declare runs, send), read, or admin (everything); repeatable.")
    ],
    project: Annotated[str | None, typer.Option(help="The one project that it opens.")] = None,
    expires: Annotated[str | None, typer.Option(help="Its lifetime, such as 12h, 30d or 8w.")] = None,
    max_requests_per_second: Annotated[float | None, typer.Option(help="Requests a second.")] = None,
    max_bytes_per_second: Annotated[float | None, typer.Option(help="Bytes of bodies a second.")] = None,
    max_runs: Annotated[int | None, typer.Option(help="Runs that it may declare.")] = None,
    max_series: Annotated[int | None, typer.Option(help="Series of one writer of a run.")] = None,
    db: Db = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it, alone on stdout; it is told this once and stored nowhere."""
    with _book(db, url) as book:
        from foreshock.server.store.tokens import NewToken

        made = book.create(
            NewToken(
                name=name,
                scopes=scope,  # type: ignore[arg-type]
                project=project,
                expires_in_seconds=None if expires is None else _seconds(expires),
                max_requests_per_second=max_requests_per_second,
                max_bytes_per_second=max_bytes_per_second,
                max_runs=max_runs,
                max_series=max_series,
            )
        )
    if as_json:
        print(json.dumps(made))
        return
    typer.echo(f"token {made['token_id']} ({_sentence(made)}); keep it, nobody can tell it again:", err=True)
    print(made["token"])


@token.command("list")
def list_all(db: Db = None, url: Url = None, as_json: AsJson = False) -> None:
    """List every token, newest first, with what it opens and when it was last used."""
    with _book(db, url) as book:
        found = book.tokens()
    if as_json:
        print(json.dumps({"tokens": found}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("token", "name", "scopes", "project", "state", "expires", "last used"):
        table.add_column(title, overflow="fold", no_wrap=title == "token")
    for one in found:
        cells = (one["token_id"], one["name"], " ".join(one["scopes"]), one["project"] or "all", one["state"])
        table.add_row(*map(Text, (*cells, _day(one["expires_at"]), _day(one["last_used_at"]))))
    Console().print(table if found else "no tokens")


@token.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="As foreshock token list shows it.")],
    db: Db = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End a token for good; running collectors refuse it within two seconds."""
    with _book(db, url) as book:
        ended = book.revoke(token_id)
    print(
        json.dumps(ended) if as_json else f"token {ended['token_id']} ({ended['name']}) is {ended['state']}"
    )


@contextmanager
def _book(db: str | None, url: str | None) -> Iterator["TokenBook"]:
    """The place where tokens are kept; what goes wrong is one line on stderr and exit status 2."""
    from pydantic import ValidationError
    from sqlalchemy.exc import SQLAlchemyError

    from foreshock.server.errors import ServerError
    from foreshock.server.store.engine import storage_error
    from foreshock.server.token_book import open_book

    try:
        with open_book(db=db, url=url) as book:
            yield book
    except ServerError as error:
        _fail(error.detail)
    except SQLAlchemyError as error:
        _fail(storage_error(error).detail)
    except ValidationError as error:
        first = error.errors()[0]
        _fail(f"{first['loc'][0]}: {first['msg']}; given {first['input']!r}")


def _fail(what: str) -> None:
    print(f"foreshock token: {what}", file=sys.stderr)
    raise typer.Exit(2)


def _seconds(lifetime: str) -> float:
    found = _LIFETIME.fullmatch(lifetime.strip())
    if found is None:
        from foreshock.server.errors import CommandError

        raise CommandError(
            f"--expires is {lifetime!r}: give a number with s, m, h, d or w behind it, such as 30d"
        )
    return float(found[1]) * _SECONDS[found[2]]


def _sentence(made: dict[str, Any]) -> str:
    limits: dict[str, Callable[[Any], str]] = {
        "max_requests_per_second": "{:g} requests a second".format,
        "max_bytes_per_second": "{:g} bytes a second".format,
        "max_runs": "{} runs".format,
        "max_series": "{} series".format,
    }
    said = [
        f"{' '.join(made['scopes'])}",
        f"project {made['project']}" if made["project"] else "all projects",
    ]
    said.append(f"until {_day(made['expires_at'])}" if made["expires_at"] else "for ever")
    said += [f"at most {show(made[key])}" for key, show in limits.items() if made[key] is not None]
    return ", ".join(said)


def _day(when: float | None) -> str:
    return "-" if when is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
