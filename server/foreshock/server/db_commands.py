"""`foreshock db`: backup, verify, move, vacuum. Nothing heavy is imported before they run."""

from pathlib import Path
from typing import Annotated

import typer

db = typer.Typer(
    name="db",
    help="The database: back it up, verify it, move it to another engine, give its free space back.",
    no_args_is_help=True,
)

Address = Annotated[
    str | None,
    typer.Option("--db", help="SQLite file or postgresql:// address (default: FORESHOCK_DB, foreshock.db)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@db.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The SQLite file that is written.")],
    address: Address = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write one consistent, checked copy to a SQLite file; the collector may go on serving."""
    from foreshock.server.vault.execution import backup_command

    raise typer.Exit(backup_command(address, file, force=force, as_json=as_json))


@db.command()
def verify(address: Address = None, as_json: AsJson = False) -> None:
    """Read every row and check it against all others; status 1 where anything is wrong."""
    from foreshock.server.vault.execution import verify_command

    raise typer.Exit(verify_command(address, as_json=as_json))


@db.command()
def move(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Empty database: postgresql:// address or SQLite file.")
    ],
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Move everything to another engine and compare; goes on where an interrupted move stopped."""
    from foreshock.server.vault.execution import move_command

    raise typer.Exit(move_command(address, target, as_json=as_json))


@db.command()
def vacuum(address: Address = None, as_json: AsJson = False) -> None:
    """Give the space of deleted runs back to the file system."""
    from foreshock.server.vault.execution import vacuum_command

    raise typer.Exit(vacuum_command(address, as_json=as_json))
