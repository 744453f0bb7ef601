"""Labels of a user's rule go wherever its alerts go: from the rules file to every receiver, end to end."""

import json
from dataclasses import replace

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from foreshock.server.alerts.alertmanager import PATH, AlertmanagerNotifier
from foreshock.server.alerts.http_post import HttpPost
from foreshock.server.alerts.wording import labels
from foreshock.server.detection.user_rules.book import read_rules
from foreshock.server.detection.user_rules.problems import RulesFileError
from foreshock.server.detection.user_rules.rule_section import MAX_LABELS, TAKEN_LABELS
from foreshock.server.rules_commands import rules as rules_command

LABELS = {"team": 'routing "a"', "tier": "1", "_Groesse": "übergroß"}


def rule(**said):
    return {"name": "high", "signal": "loss", "when": {"above": 10}, **said}


def file_of(*entries):
    return yaml.safe_dump({"rules": list(entries)}, allow_unicode=True)


@pytest.mark.prometheus
def test_labels_arrive_at_every_receiver_and_silences_find_them(
    tmp_path, start_collector, start_alertmanager, receiver, writer_of, until
):
    """One real collector; its webhook, a real Alertmanager, a chat, its API, its command line."""
    alertmanager = start_alertmanager()
    (tmp_path / "rules.yml").write_text(file_of(rule(labels=LABELS), rule(name="plain")))
    notifiers = [
        {"name": "hook", "kind": "webhook", "url": f"http://{receiver.place}/hook"},
        {"name": "am", "kind": "alertmanager", "url": alertmanager.url},
        {"name": "chat", "kind": "apprise", "url": f"json://{receiver.place}/chat", "snapshot": False},
    ]
    (tmp_path / "notifiers.yml").write_text(yaml.safe_dump({"notifiers": notifiers}))
    environment = {
        "FORESHOCK_RULES_FILE": str(tmp_path / "rules.yml"),
        "FORESHOCK_NOTIFIERS_FILE": str(tmp_path / "notifiers.yml"),
    }
    collector = start_collector(
        "--port", "0", "--db", str(tmp_path / "foreshock.db"), environment=environment
    )

    def heard(path):
        return [json.loads(body) for where, _, body in receiver.requests if where == path]

    with httpx.Client(base_url=collector.url()) as http:
        silence = {
            "matchers": [{"name": "team", "operator": "=~", "value": "routing .*"}],
            "author": "mira",
            "comment": "known",
            "duration_seconds": 600,
        }
        quiet = writer_of(http, run_id="quiet").start("loss")
        loud = writer_of(http, run_id="loud").start("loss")
        assert loud.send(loud.batch([0, 1], [1.0, 12.0])).status_code == 200
        (pushed,) = until(
            lambda: [one for one in alertmanager.alerts() if one["labels"]["rule"] == "high"],
            "the alert has not come to Alertmanager",
        )
        until(lambda: heard("/hook") and heard("/chat"), "webhook or chat have heard nothing")
        assert http.post("/api/v1/silences", json=silence).status_code == 201
        assert quiet.send(quiet.batch([0, 1], [1.0, 12.0])).status_code == 200
        told = (
            until(
                lambda: http.get("/api/v1/alerts", params={"run": "quiet"}).json()["alerts"][1:],
                "the silenced run has no alerts",
            )
            and http.get("/api/v1/alerts").json()["alerts"]
        )
        # Told of the second run: what has no such label
        until(lambda: "quiet" in json.dumps(heard("/hook")), "the plain rule has told nobody")
    assert pushed["labels"].items() >= LABELS.items()
    (posted,) = [one for one in heard("/hook")[0]["alerts"] if one["labels"]["rule"] == "high"]
    assert posted["labels"] == pushed["labels"]
    assert '_Groesse=übergroß, team=routing "a", tier=1' in heard("/chat")[0]["message"]
    by_rule = {(one["run_id"], one["rule"]): one for one in told}
    assert by_rule["loud", "high"]["labels"] == LABELS and by_rule["loud", "plain"]["labels"] == {}
    assert by_rule["quiet", "high"]["silences"] and not by_rule["quiet", "plain"]["silences"]
    of_quiet = [
        one["labels"]["rule"]
        for body in heard("/hook")
        for one in body["alerts"]
        if one["labels"]["run"] == "quiet"
    ]
    assert of_quiet == ["plain"]


def test_the_names_of_foreshock_itself_cannot_be_taken(notification):
    assert labels(notification(subject="layer 3")).keys() <= TAKEN_LABELS
    for name in TAKEN_LABELS:
        with pytest.raises(RulesFileError, match=f"the label {name} is set by foreshock itself"):
            read_rules(file_of(rule(labels={name: "x"})).encode())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a-b": "x"}, "is no name of a label"),
        ({"1a": "x"}, "is no name of a label"),
        ({"a" * 65: "x"}, "is no name of a label"),
        ({"größe": "x"}, "is no name of a label"),
        ({"team": "x" * 201}, "at most 200 characters"),
        ({"team": ["x"]}, "must be text"),
        ({"team": "a\0b"}, r"holds the character U\+0000"),
        ({"team": "a\ud800b"}, r"holds the character U\+D800"),
        ({f"l{number}": "x" for number in range(MAX_LABELS + 1)}, "more than 20"),
    ],
)
def test_what_no_receiver_would_take_is_refused_with_its_line(tmp_path, given, told):
    text = json.dumps({"rules": [rule(labels=given)]})
    with pytest.raises(RulesFileError, match=told):
        read_rules(text.encode())
    (tmp_path / "rules.yaml").write_text(text)
    answer = CliRunner().invoke(rules_command, ["check", str(tmp_path / "rules.yaml")])
    assert answer.exit_code == 1 and "rules.yaml:1:" in answer.output


@pytest.mark.prometheus
def test_the_names_that_are_allowed_are_those_of_the_real_alertmanager(start_alertmanager, notification):
    """As long as any, of any letters, empty: taken whole, or left out."""
    said = {"a" * 64: "x" * 200, "__x": "y", "Z9_": "ü\u2028 {{ .Labels }} \\", "none": ""}
    (read,) = read_rules(json.dumps({"rules": [rule(labels=said)]}).encode()).own
    alertmanager = start_alertmanager()
    AlertmanagerNotifier(HttpPost(alertmanager.url + PATH)).notify(
        [replace(notification(), labels=dict(read.labels))]
    )
    (taken,) = alertmanager.alerts()
    assert taken["labels"].items() >= {name: value for name, value in read.labels if value}.items()
    assert "none" not in taken["labels"]
