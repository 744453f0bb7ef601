"""The notifiers' file: what it may say, and how it is told what it may not."""

import pytest

from foreshock.server.alerts.alertmanager import AlertmanagerNotifier
from foreshock.server.alerts.apprise_notifier import AppriseNotifier
from foreshock.server.alerts.notifiers_file import NotifiersFileError, read_notifiers
from foreshock.server.alerts.switchboard import make_channels
from foreshock.server.errors import StartError
from foreshock.server.settings import Settings, read_settings

SECRET = "T0kenThatNobodyMayRead"
GOOD = f"""
notifiers:
  - name: team
    kind: apprise
    url: slack://{SECRET}/B/C/#alerts
    min_severity: warning
    projects: [prod-*, demo]
  - name: pager
    kind: apprise
    url_env: PAGER_URL
    min_severity: critical
    claims: [event, rule]
    send_resolved: false
    snapshot: false
    max_per_minute: 5
  - name: am
    kind: alertmanager
    url: https://alerts.example.org/am/
    username: me
    password_file: {{folder}}/password
    renew_seconds: 30
  - name: hook
    kind: webhook
    url: https://hooks.example.org/{SECRET}
    bearer_env: HOOK_TOKEN
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setenv("PAGER_URL", f"pagerduty://{SECRET}@{SECRET}2")
    monkeypatch.setenv("HOOK_TOKEN", SECRET)
    monkeypatch.setenv("EMPTY", " ")
    (tmp_path / "password").write_text(f"{SECRET}\n")
    (tmp_path / "empty").write_text("\n")

    def put(text):
        path = tmp_path / "notifiers.yml"
        path.write_text(text.replace("{folder}", str(tmp_path)))
        return path

    return put


def test_a_file_becomes_notifiers_beside_those_of_the_settings(write):
    path = write(GOOD)
    channels = make_channels(Settings(notifiers_file=str(path), webhook_url=f"http://here/{SECRET}"))
    assert [(one.name, one.kind) for one in channels] == [
        ("log", "log"),
        ("webhook", "webhook"),
        ("team", "apprise"),
        ("pager", "apprise"),
        ("am", "alertmanager"),
        ("hook", "webhook"),
    ]
    _, _, team, pager, am, hook = channels
    assert isinstance(team.notifier, AppriseNotifier) and isinstance(am.notifier, AlertmanagerNotifier)
    assert team.selection.projects == ("prod-*", "demo") and team.max_per_minute == 30
    assert pager.notifier.url == f"pagerduty://{SECRET}@{SECRET}2" and pager.max_per_minute == 5
    assert am.notifier.post.url == "https://alerts.example.org/am/api/v2/alerts"
    assert am.notifier.post.auth == ("me", SECRET) and am.notifier.renew_seconds == 30
    assert hook.notifier.post.bearer == SECRET
    shown = [one.shown for one in channels[1:]]
    assert shown == [
        "http://here/***",
        "slack://***",
        "pagerduty://***",
        "https://alerts.example.org/***",
        "https://hooks.example.org/***",
    ]
    assert SECRET not in repr(channels) and SECRET not in repr(read_notifiers(path))


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("notifiers:\n  - name: a\n    kind: slack\n", 3, "kind 'slack' is not known: give one of apprise"),
        ("notifiers:\n  - name: a\n", 2, "it has no kind"),
        ("notifiers:\n  - kind: log\n", 2, "name is missing"),
        ("notifiers:\n  - name: A b\n    kind: log\n", 2, "given 'A b'"),
        ("notifiers:\n  - name: a\n    kind: apprise\n", 2, "give url, url_env or url_file"),
        (
            "notifiers:\n  - name: a\n    kind: apprise\n    url: x://y\n    url_env: PAGER_URL\n",
            2,
            "url and url_env are given",
        ),
        ("notifiers:\n  - name: a\n    kind: apprise\n    url_env: NOPE\n", 4, "NOPE is not set"),
        ("notifiers:\n  - name: a\n    kind: apprise\n    url_env: EMPTY\n", 4, "not set, or empty"),
        (
            f"notifiers:\n  - name: a\n    kind: apprise\n    url_env: slack://{SECRET}\n",
            4,
            "must be the name of an environment variable",
        ),
        (
            f"notifiers:\n  - name: a\n    kind: apprise\n    url_file: slack://{SECRET}\n",
            4,
            "the file cannot be read: No such file",
        ),
        ("notifiers:\n  - name: a\n    kind: apprise\n    url_file: {folder}/empty\n", 4, "is empty"),
        (f"notifiers:\n  - name: a\n    kind: apprise\n    url: {SECRET}\n", 2, "such as slack://"),
        (f"notifiers:\n  - name: a\n    kind: webhook\n    url: ftp://{SECRET}\n", 2, "http:// or https://"),
        (
            f"notifiers:\n  - name: a\n    kind: apprise\n    ulr: slack://{SECRET}\n    url: x://y\n",
            4,
            "ulr is not a field of its kind: did you mean url?",
        ),
        (
            "notifiers:\n  - name: a\n    kind: log\n    min_severity: high\n",
            4,
            "'info', 'warning' or 'critical', given 'high'",
        ),
        (
            "notifiers:\n  - name: a\n    kind: log\n    claims: [event, doom]\n",
            4,
            "'event', 'structural' or 'rule'",
        ),
        (
            "notifiers:\n  - name: a\n    kind: log\n    max_per_minute: 0\n",
            4,
            "greater than or equal to 1, given '0'",
        ),
        (
            f"notifiers:\n  - name: a\n    kind: webhook\n    url: http://h\n    password: {SECRET}\n",
            2,
            "username and password go together",
        ),
        (
            "notifiers:\n  - name: a\n    kind: webhook\n    url: http://h\n    timeout_seconds: 99\n",
            5,
            "less than or equal to 45",
        ),
        ("notifiers:\n  - name: a\n    kind: log\n  - name: a\n    kind: log\n", 4, "a second notifier"),
        ("notifiers:\n  - name: a\n    name: b\n    kind: log\n", 3, "given twice"),
        ("notifiers:\n  - just a word\n", 2, "given as fields"),
        ("notifiers:\n  a: b\n", 1, "it must hold one list"),
        ("others: []\n", 1, "it must hold one list"),
        (f"notifiers:\n  - name: a\n    url: 'slack://{SECRET}\n", 4, "this is not YAML"),
        (f"notifiers:\n  - name: a\n\turl: slack://{SECRET}\n", 3, "this is not YAML"),
        (f"notifiers:\n  - name: a\n    kind: log\n    rules: !!python/name:{SECRET} x\n", 4, "nothing that"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_without_a_secret(write, text, line, told):
    path = write(text)
    with pytest.raises(NotifiersFileError) as refused:
        read_notifiers(path)
    assert f"{path}: line {line}: " in refused.value.detail and told in refused.value.detail
    assert "\n" not in refused.value.detail
    seen = refused.value
    while seen is not None:
        assert SECRET not in str(seen) and SECRET not in repr(seen)
        seen = seen.__cause__ or seen.__context__


def test_of_many_faults_the_first_are_told(write):
    text = "notifiers:\n" + "".join(f"  - name: n{one}\n    kind: log\n    foo: 1\n" for one in range(5))
    with pytest.raises(NotifiersFileError, match=r"line 4: .*line 7: .*line 10: .*; and 2 more"):
        read_notifiers(write(text))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"- a\n", b"[" * 100_000, b"a: &a [*a]\n"])
def test_what_is_no_such_file_at_all_is_refused(tmp_path, content):
    path = tmp_path / "notifiers.yml"
    path.write_bytes(content)
    with pytest.raises(NotifiersFileError):
        read_notifiers(path)


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path, start_collector):
    with pytest.raises(NotifiersFileError, match="cannot be read: No such file"):
        read_notifiers(tmp_path / "none.yml")
    environment = {"FORESHOCK_NOTIFIERS_FILE": str(tmp_path / "none.yml")}
    db = str(tmp_path / "f.db")
    status, told = start_collector("--port", "0", "--db", db, environment=environment).failure()
    assert status == 2 and told.count("\n") == 1 and "No such file" in told


def test_a_name_of_the_settings_is_taken(write):
    path = write("notifiers:\n  - name: webhook\n    kind: log\n")
    with pytest.raises(NotifiersFileError, match="the name webhook is taken"):
        make_channels(Settings(notifiers_file=str(path), webhook_url="http://here"))
    assert [one.name for one in make_channels(Settings(notifiers_file=str(path)))] == ["webhook"]


@pytest.mark.parametrize("given", [f"slack://{SECRET}", SECRET])
def test_a_webhook_that_is_no_address_is_refused_without_being_shown(monkeypatch, given):
    monkeypatch.setenv("FORESHOCK_WEBHOOK_URL", given)
    with pytest.raises(StartError, match="must begin with http") as refused:
        read_settings()
    assert SECRET not in refused.value.detail and refused.value.__context__ is None
