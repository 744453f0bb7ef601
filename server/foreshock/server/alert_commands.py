"""`foreshock alerts`: what a collector has found, who has seen it. Nothing heavy is imported before."""

from typing import Annotated

import typer

alerts = typer.Typer(
    name="alerts", help="Alerts of a collector: list, show, acknowledge.", no_args_is_help=True
)

Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or group:<project>/<key>.")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The alert's number within its run.")]
Author = Annotated[str, typer.Option(help="Who says so.")]
Url = Annotated[
    str | None, typer.Option(help="The collector (default: FORESHOCK_URL, http://127.0.0.1:8787).")
]
Token = Annotated[str | None, typer.Option(help="Its token (default: FORESHOCK_TOKEN).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


@alerts.command(name="list")
def list_all(
    run: Annotated[str | None, typer.Option(help="Of one run.")] = None,
    project: Annotated[str | None, typer.Option(help="Of one project.")] = None,
    state: Annotated[str | None, typer.Option(help="pending, firing or resolved.")] = None,
    rule: Annotated[str | None, typer.Option(help="Of one rule.")] = None,
    severity: Annotated[str | None, typer.Option(help="info, warning or critical.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many.")] = 50,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List alerts, those that changed last first."""
    from foreshock.server.alert_desk import list_command

    asked = {"run": run, "project": project, "state": state, "rule": rule, "severity": severity}
    raise typer.Exit(list_command(asked, limit, url, token, as_json=as_json))


@alerts.command()
def show(run: Run, number: Number, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Show one alert with every transition it has made."""
    from foreshock.server.alert_desk import show_command

    raise typer.Exit(show_command(run, number, url, token, as_json=as_json))


@alerts.command()
def ack(
    run: Run,
    number: Number,
    author: Author,
    note: Annotated[str, typer.Option(help="What was found, or done.")] = "",
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Say that somebody has seen an alert: it pages no more unless it gets worse."""
    from foreshock.server.alert_desk import acknowledge_command

    raise typer.Exit(acknowledge_command(run, number, author, note, url, token, as_json=as_json))
