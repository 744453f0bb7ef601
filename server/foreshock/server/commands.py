"""`foreshock serve`: starts the collector. Nothing heavy is imported before it runs."""

from typing import Annotated

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one (default: 8787).")] = None,
    db: Annotated[
        str | None, typer.Option(help="SQLite file or postgresql:// address (default: foreshock.db).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Say where it listens as one line of JSON.")
    ] = False,
) -> None:
    """Start the collector: it stores what probes send, judges it, and serves the live pages."""
    from foreshock.server.serving import run

    raise typer.Exit(run(host=host, port=port, db=db, as_json=as_json))
