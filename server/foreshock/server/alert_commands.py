"""`foreshock alerts`: what a collector has found, who has seen it, what is silenced. Light at import."""

from typing import Annotated

import typer

alerts = typer.Typer(
    name="alerts", help="Alerts of a collector: list, show, acknowledge, silence.", no_args_is_help=True
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


@alerts.command()
def silence(
    matchers: Annotated[
        list[str],
        typer.Argument(
            metavar="MATCHER..",
            help="rule=loss_spike, run=~hc-.*, severity!=critical: all must fit. Names: run, project, rule, "
            "severity, claim, subject, and labels of rules.",
        ),
    ],
    author: Author,
    comment: Annotated[str, typer.Option(help="Why.")],
    lasting: Annotated[str | None, typer.Option("--for", help="How long, such as 30m, 2h or 3d.")] = None,
    until: Annotated[str | None, typer.Option(help="Or until when, such as 2026-12-24T08:00.")] = None,
    start: Annotated[str | None, typer.Option(help="From when on (default: now).")] = None,
    project: Annotated[str | None, typer.Option(help="In one project only.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Keep what matches from waking anybody for a time; it is stored and shown all the same."""
    from foreshock.server.silence_desk import Wish, silence_command

    wish = Wish(tuple(matchers), author, comment, lasting, until, start, project)
    raise typer.Exit(silence_command(wish, url, token, as_json=as_json))


@alerts.command()
def silences(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """List silences that live, or ended within 30 days."""
    from foreshock.server.silence_desk import silences_command

    raise typer.Exit(silences_command(url, token, as_json=as_json))


@alerts.command()
def unsilence(
    silence_id: Annotated[str, typer.Argument(metavar="ID", help="As foreshock alerts silences shows it.")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """End a silence before its time; what still fires is told then."""
    from foreshock.server.silence_desk import unsilence_command

    raise typer.Exit(unsilence_command(silence_id, url, token, as_json=as_json))


@alerts.command()
def notifiers(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """List who is told of alerts, and how each fares."""
    from foreshock.server.notifying import notifiers_command

    raise typer.Exit(notifiers_command(url, token, as_json=as_json))


@alerts.command()
def test(
    notifier: Annotated[str | None, typer.Option(metavar="NAME", help="Only this one.")] = None,
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Send a test message through each notifier and say whether it arrived; status 1 where one did not."""
    from foreshock.server.notifying import test_command

    raise typer.Exit(test_command(notifier, url, token, as_json=as_json))
