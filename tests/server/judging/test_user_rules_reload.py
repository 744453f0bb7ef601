"""Rules that change while runs are judged: taken over if valid, told if not, nothing forgotten."""

import json
import logging
import subprocess
import sys
import time

import httpx
import msgspec
import pytest
from tests.server.judging.bench import SETTINGS, Bench
from tests.server.judging.test_user_rules_conditions import block, rules

from foreshock.server.detection.case import Case
from foreshock.server.detection.context import RunContext
from foreshock.server.detection.detector import Detector
from foreshock.server.detection.fingerprint import fingerprint
from foreshock.server.detection.rules import ExitAmax, default_rules
from foreshock.server.detection.user_rules import RulesFileError
from foreshock.server.detection.user_rules.watched import WatchedRules
from foreshock.server.judge import Judge
from foreshock.server.store.schema import alerts

HIGH = "rules: [{name: high, signal: loss, when: {above: 10}, labels: {team: a}}]\n"
OWN = "own_series: {mine: scalar}\nrules: [{name: own, signal: mine, when: {above: 10}, for: 5 steps}]\n"


# The detector


def test_a_definition_has_one_fingerprint_in_every_process():
    code = (
        "from foreshock.server.detection.rules import default_rules\n"
        "from foreshock.server.detection.fingerprint import fingerprint\n"
        "print([fingerprint(rule) for rule in default_rules()])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = [fingerprint(rule) for rule in default_rules()]
    assert told.strip() == str(here) and len(set(here)) == len(here)
    assert fingerprint(ExitAmax(threshold=11)) != fingerprint(ExitAmax())
    (one,), (same,), (other,) = (rules({"when": {"above": bound}}) for bound in (1, 1, 2))
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)


def test_a_rule_of_unchanged_definition_goes_on_where_it_was():
    entry = {"when": {"above": 10}, "for": "20 steps"}
    detector = Detector(RunContext(), rules(entry))
    assert [one.state for one in detector.judge(block([12] * 10))] == ["pending"]
    detector.adopt(rules(entry, {"when": {"above": 50}}))
    assert detector.settle() == []
    found = detector.judge(block([12] * 20, first=10))
    assert [(one.state, one.step) for one in found] == [("firing", 20)]
    assert {name: mark.since_step for name, mark in detector.marks.items()} == {"r0": 0, "r1": 10}


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_changed_rule_starts_afresh_and_a_removed_one_resolves(is_replaced):
    before = rules({"when": {"above": 10}}, {"when": {"above": 11}})
    after = rules({"when": {"above": 10}, "for": "5 steps"})
    detector = Detector(RunContext(), before)
    assert [one.state for one in detector.judge(block([12] * 10))] == ["firing", "firing"]
    if is_replaced:
        stored, detector = detector.state(), Detector(RunContext(), after)
        detector.restore(stored)
    else:
        detector.adopt(after)
    removed, changed = detector.settle()
    assert (changed.rule, changed.state, changed.step) == ("r0", "resolved", 9)
    assert changed.reason == "The rule r0 was changed; it is judged afresh from step 10."
    assert removed.reason == "The rule r1 is no longer among the rules that judge this run."
    assert detector.settle() == []
    found = detector.judge(block([12] * 10, first=10))
    assert [(one.rule, one.state, one.step) for one in found] == [("r0", "pending", 10), ("r0", "firing", 15)]


def test_a_state_from_before_definitions_were_noted_is_taken_as_it_is():
    detector = Detector(RunContext(), rules({"when": {"above": 10}}))
    detector.judge(block([12] * 3))
    state = msgspec.msgpack.decode(detector.state())
    del state["marks"]
    other = Detector(RunContext(), rules({"when": {"above": 10}}))
    other.restore(msgspec.msgpack.encode(state))
    assert other.settle() == [] and len(other.lives) == 1


def test_the_last_word_on_a_run_that_has_ended_outlives_its_rule():
    case = Case(0, RunContext(), rules({"when": {"above": 10}, "severity": "critical"}))
    case.advance(block([12] * 3), 2)
    assert case.end("finished") == []
    case.detector.adopt(())
    assert case.advance(block([12]).part(0, 0), 2) == []
    assert len(case.detector.lives) == 1


# The file


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(HIGH)
    return path


def test_a_changed_file_is_taken_over_and_looked_at_once_a_second(file):
    watched = WatchedRules(file)
    assert [one.name for one in watched.book.own] == ["high"]
    assert not watched.refresh(0.0)
    file.write_text(HIGH.replace("high", "tall"))  # of the same size
    assert not watched.refresh(0.5)
    assert watched.refresh(1.0)
    assert [one.name for one in watched.book.own] == ["tall"]


def test_an_invalid_file_is_told_once_and_the_old_rules_stay(file, caplog):
    watched = WatchedRules(file)
    before = watched.book
    file.write_text(HIGH + "wrong: 1\nalso: 2\n")
    with caplog.at_level(logging.INFO, "foreshock.rules"):
        assert not watched.refresh(0.0) and not watched.refresh(2.0)
    assert watched.book is before
    assert caplog.text.count("go on judging") == 1
    assert f"{file}:2:1: 'wrong'" in caplog.text and f"{file}:3:1: 'also'" in caplog.text
    assert [one["line"] for one in watched.status()["problems"]] == [2, 3]
    file.write_text(HIGH)
    assert not watched.refresh(4.0)
    assert watched.problems == () and watched.book is before


def test_a_file_that_is_gone_changes_nothing_and_may_come_back(file):
    watched = WatchedRules(file)
    before = watched.book
    file.unlink()
    assert not watched.refresh(0.0)
    assert "cannot be read" in watched.status()["problems"][0]["problem"]
    file.write_text(HIGH)
    assert not watched.refresh(2.0)
    assert watched.status()["valid"] and watched.book is before


def test_at_start_an_invalid_file_is_refused(file):
    file.write_text("wrong: 1")
    with pytest.raises(RulesFileError):
        WatchedRules(file)


# The judge


@pytest.fixture
def watching(bench: Bench, file):
    """A bench whose judge watches the file; each turn lets more than a second pass."""

    def replace():
        bench.clock.now += SETTINGS.lease_seconds + 1
        ring = lambda name, data: bench.rung.append((name, data))  # noqa: E731
        bench.judge = Judge(bench.engine, SETTINGS, ring, bench.clock, bench.clock, WatchedRules(file))

    bench.replace = replace
    replace()
    return bench


def turns(bench, count=2):
    for _ in range(count):
        bench.clock.now += 2.0
        bench.turns(1)


def send(writer, values, first=0):
    answer = writer.send(writer.batch(range(first, first + len(values)), values))
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "backend", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_a_live_run_is_judged_by_the_rules_of_the_moment(watching, writer, file):
    writer.start("loss")
    send(writer, [12.0] * 5)
    turns(watching)
    assert ("high", "loss", "firing", 0) in watching.told()
    file.write_text(HIGH + "wrong: 1\n")
    turns(watching)
    assert ("high", "loss", "resolved", 4) not in watching.told()
    file.write_text(HIGH.replace("name: high", "name: higher"))
    turns(watching)
    # No step has come since: an alert of a rule that is gone must not wait for one
    assert watching.told()[-1] == ("high", "loss", "resolved", 4)
    (row,) = watching.rows(alerts, alerts.c.rule == "high")
    assert row["outcome"] == "The rule high is no longer among the rules that judge this run."
    send(writer, [12.0] * 5, first=5)
    turns(watching)
    assert watching.told()[-1] == ("higher", "loss", "firing", 5)


def test_a_judge_that_is_replaced_finds_the_same(watching, writer, file):
    file.write_text(OWN)
    watching.replace()
    writer.start("loss", "mine")
    for first in range(0, 12, 3):
        send(writer, [[1.0, 12.0]] * 3, first=first)
        turns(watching)
        watching.replace()
    assert [one for one in watching.told() if one[0] == "own"] == [
        ("own", "mine", "pending", 0),
        ("own", "mine", "firing", 5),
    ]


def test_rules_that_changed_while_no_judge_was_there(watching, writer, file):
    writer.start("loss")
    send(writer, [12.0] * 5)
    turns(watching)
    file.write_text(HIGH.replace("above: 10", "above: 11"))
    watching.replace()
    turns(watching)
    assert watching.told()[-1] == ("high", "loss", "resolved", 4)
    send(writer, [12.0] * 2, first=5)
    turns(watching)
    assert watching.told()[-1] == ("high", "loss", "firing", 5)


def test_a_series_of_ones_own_is_judged_once_a_rule_asks_for_it(watching, writer, file):
    writer.start("loss", "mine")
    send(writer, [[1.0, 12.0]] * 5)
    turns(watching)
    file.write_text(OWN)
    turns(watching)
    send(writer, [[1.0, 12.0]] * 10, first=5)
    turns(watching)
    assert [one for one in watching.told() if one[0] == "own"] == [
        ("own", "mine", "pending", 5),
        ("own", "mine", "firing", 10),
    ]


# The collector


def wait_for(true):
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to that")


def command(*arguments, **environment):
    code = "from foreshock.server.rules_commands import rules; rules()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "COLUMNS": "200", **environment},
        check=False,
    )


def test_a_real_collector_takes_over_while_it_judges(start_collector, writer_of, tmp_path, file):
    environment = {"FORESHOCK_RULES_FILE": str(file), "FORESHOCK_JUDGE_INTERVAL_SECONDS": "0.05"}
    collector = start_collector("--port", "0", "--db", str(tmp_path / "a.db"), environment=environment)
    url = collector.url()
    with httpx.Client(base_url=url, trust_env=False) as http:

        def told(rule):
            found = http.get("/api/v1/alerts", params={"rule": rule}).json()["alerts"]
            return [(one["state"], one["opened_step"]) for one in found]

        def problems():
            lines = http.get("/metrics").text.splitlines()
            return next(line for line in lines if line.startswith("foreshock_rules_problems"))

        writer = writer_of(http).start("loss")
        send(writer, [12.0] * 5)
        wait_for(lambda: told("high") == [("firing", 0)])
        file.write_text("rules: [{name: high, signal: los}]\n")
        wait_for(lambda: problems() == "foreshock_rules_problems 2.0")
        status = command("status", "--url", url)
        assert status.returncode == 1
        assert f"{file}:1:30: there is no signal 'los' (did you mean loss" in status.stdout
        send(writer, [12.0] * 5, first=5)
        file.write_text(HIGH.replace("name: high", "name: higher"))
        wait_for(lambda: told("high") == [("resolved", 0)])
        send(writer, [12.0] * 5, first=10)
        wait_for(lambda: [state for state, _ in told("higher")] == ["firing"])
        assert problems() == "foreshock_rules_problems 0.0"
        status = json.loads(command("status", "--url", url, "--json").stdout)
        assert status["valid"] and "higher" in status["rules"] and status["file"] == str(file)


def test_a_collector_does_not_start_on_an_invalid_file(start_collector, tmp_path, file):
    file.write_text(HIGH + "wrong: 1\n")
    status, told = start_collector(
        "--port", "0", "--db", str(tmp_path / "a.db"), environment={"FORESHOCK_RULES_FILE": str(file)}
    ).failure()
    assert status == 2
    assert told.startswith(f"foreshock serve: {file}:2:1: 'wrong' is no key") and told.count("\n") == 1
