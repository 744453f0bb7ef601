"""`foreshock verdict`. Nothing heavy is imported before it runs."""

from typing import Annotated

import typer

from foreshock.server.keeping_commands import AsJson, Token, Url


def verdict(
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project whose runs are compared.")],
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="A key of the configuration (model.connection reaches into objects), `group` or `tag` "
            "(default: connection, model.connection or group, the first that any run has).",
        ),
    ] = None,
    constrained: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="The constrained group (default: each found to be so)."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="The unconstrained one (default: hc, or the only other)."),
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """May training go on under the constraint? Ends with 0 restart, 1 wait, 3 undecided, 2 no answer."""
    from foreshock.server.verdict_report import verdict_command

    raise typer.Exit(verdict_command(project, group_by, constrained, baseline, url, token, as_json=as_json))
