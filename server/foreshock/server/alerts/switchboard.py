"""All notifiers of a collector, made from its settings and its notifiers' file."""

from foreshock.server.alerts.alertmanager import PATH, AlertmanagerNotifier
from foreshock.server.alerts.apprise_notifier import AppriseNotifier, Picture
from foreshock.server.alerts.channel import Channel
from foreshock.server.alerts.http_post import HttpPost
from foreshock.server.alerts.log import LogNotifier
from foreshock.server.alerts.notifier import Notifier
from foreshock.server.alerts.notifier_spec import (
    AlertmanagerSpec,
    AppriseSpec,
    HttpSpec,
    LogSpec,
    NotifierSpec,
    WebhookSpec,
)
from foreshock.server.alerts.notifiers_file import NotifiersFileError, read_notifiers
from foreshock.server.alerts.secrets import Secrets, shown_address
from foreshock.server.alerts.webhook import WebhookNotifier
from foreshock.server.settings import Settings


def read_specs(settings: Settings) -> list[NotifierSpec]:
    """The log, the webhook of the settings, and what the file names; raises NotifiersFileError."""
    own: list[NotifierSpec] = []
    if settings.webhook_url is not None:
        timeout = settings.webhook_timeout_seconds
        own.append(
            WebhookSpec(kind="webhook", name="webhook", url=settings.webhook_url, timeout_seconds=timeout)
        )
    told = [] if settings.notifiers_file is None else read_notifiers(settings.notifiers_file)
    if not any(isinstance(one, LogSpec) for one in told):
        own.insert(0, LogSpec(kind="log", name="log"))
    taken = {one.name for one in own} & {one.name for one in told}
    if taken:
        raise NotifiersFileError(
            f"notifiers file {settings.notifiers_file}: the name {min(taken)} is taken by the settings: "
            "give another"
        )
    return own + told


def make_channels(settings: Settings, picture: Picture | None = None) -> list[Channel]:
    """Every notifier, ready for the outbox; raises NotifiersFileError.

    picture: draws the snapshot that goes with a message where the service takes one.
    """
    return [_channel(one, settings.address, picture) for one in read_specs(settings)]


def _channel(spec: NotifierSpec, address: str, picture: Picture | None) -> Channel:
    url = spec.secret("url") if "url" in spec.secrets else None
    words = [spec.secret(name) or "" for name in spec.secrets if name != "url"]
    return Channel(
        _notifier(spec, address, picture),
        kind=getattr(spec, "kind", "own"),
        shown=None if url is None else shown_address(url),
        selection=spec.selection,
        secrets=Secrets([] if url is None else [url], words),
        max_per_minute=spec.max_per_minute,
    )


def _notifier(spec: NotifierSpec, address: str, picture: Picture | None) -> Notifier:
    match spec:
        case AppriseSpec():
            drawn = picture if spec.snapshot else None
            return AppriseNotifier(spec.name, spec.secret("url") or "", spec.timeout_seconds, drawn)
        case WebhookSpec():
            return WebhookNotifier(_post(spec, ""), address, spec.max_alerts, spec.name)
        case AlertmanagerSpec():
            return AlertmanagerNotifier(
                _post(spec, PATH), spec.renew_seconds, spec.renew_acknowledged, spec.name
            )
    return LogNotifier(spec.name)


def _post(spec: HttpSpec, path: str) -> HttpPost:
    url = spec.secret("url") or ""
    password = spec.secret("password")
    auth = None if spec.username is None or password is None else (spec.username, password)
    return HttpPost(
        url.rstrip("/") + path if path else url,
        spec.timeout_seconds,
        auth,
        spec.secret("bearer"),
        spec.trusted,
    )
