"""Rules files: read whole, or refused with everything that is wrong, each with its line."""

import itertools
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.server.detection.rules import default_rules
from foreshock.server.detection.user_rules import RulesFileError, load_rules
from foreshock.server.detection.user_rules import book as book_module
from foreshock.server.detection.user_rules.book import read_rules
from foreshock.server.detection.user_rules.document import MAX_BYTES
from foreshock.server.detection.user_rules.inhibition import find_cycles, in_order
from foreshock.wire import catalogue_series

EXAMPLE = Path(book_module.__file__).parent / "example.yaml"
README = EXAMPLE.parent / "README.md"


def problems(text):
    """(line, column, words) of everything that is wrong."""
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(RulesFileError) as caught:
        read_rules(data)
    return [(one.place.line, one.place.column, one.words) for one in caught.value.problems]


def rule(**changes):
    """A rules file of one rule; a value of None leaves the key out."""
    entry = {"name": "mine", "signal": "loss", "when": {"above": 3}, **changes}
    entry = {key: value for key, value in entry.items() if value is not None}
    return yaml.safe_dump({"rules": [entry]})


def test_the_example_is_valid_and_shows_every_condition_and_key():
    book = load_rules(EXAMPLE)
    assert book.disabled == ("loss_spike",)
    assert {one.criterion.key for one in book.own} == {
        *("below", "above", "rises", "eta", "deviates", "changes", "missing", "nonfinite")
    }
    exit_amax = next(one for one in book.rules if one.name == "exit_amax")
    assert (exit_amax.threshold, exit_amax.patience.share, exit_amax.test.p_value) == (12, 0.02, 1e-4)
    assert book.own_series == {"my/expert_load", "domain_loss/code"}
    assert book.labels["router_collapse"] == {"team": "routing"}


def test_an_unchanged_shipped_rule_is_the_shipped_rule():
    book = read_rules(b"shipped: {time_bomb: {threshold: 3}, vanishing: off}")
    shipped = {one.name: one for one in default_rules()}
    changed = [one.name for one in book.rules if one != shipped[one.name]]
    assert changed == ["time_bomb"] and book.disabled == ("vanishing",)
    assert len(book.rules) == len(shipped) - 1


def test_every_problem_is_told_at_once_with_line_and_column():
    found = problems("""\
shipped:
  exit_amx: off
  time_bomb: {treshold: 2}
rules:
  - name: one
    signal: grad_nrm
    when: {above: ten}
    for: 5
  - name: one
    signal: layer_amax_forward
    when: {above: 10, below: 2}
    sevrity: bad
wrong: 1
""")
    told = {(line, column): words for line, column, words in found}
    assert set(told) == {
        *((2, 3), (3, 15), (6, 13), (7, 19), (8, 10)),
        *((9, 11), (10, 13), (11, 11), (12, 5), (13, 1)),
    }
    assert "did you mean exit_amax?" in told[2, 3]
    assert "did you mean threshold" in told[3, 15]
    assert "did you mean grad_norm" in told[6, 13]
    assert "must be a number; given 'ten'" in told[7, 19]
    assert "has no unit" in told[8, 10]
    assert "line 5 already" in told[9, 11]
    assert "layer_amax_forward_mean or layer_amax_forward_max" in told[10, 13]
    assert "did you mean severity?" in told[12, 5]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"signal": "los"}, "did you mean loss"),
        ({"signal": "my/own"}, "declared under own_series"),
        ({"signal": "stream_rms[3]"}, "say signal: stream_rms and layers: 3"),
        ({"signal": "loss / grad_norm / loss"}, "divides twice"),
        ({"signal": ["loss"]}, "needs one signal"),
        ({"signal": None}, "needs one signal"),
        ({"name": None}, "has no name"),
        ({"name": "Not A Name"}, "is no name of a rule"),
        ({"name": "exit_amax"}, "is the name of a shipped rule"),
        ({"name": "heartbeat_lost"}, "is the name of a shipped rule"),
        ({"when": None}, "has no `when`"),
        ({"when": {}}, "waits for nothing"),
        ({"when": {"above": 1, "missing": "5 steps"}}, "waits for above and missing"),
        ({"when": {"over": 1}}, "'over' is no key of when"),
        ({"when": 7}, "must be a mapping"),
        ({"when": {"above": "1"}}, "must be a number; given '1'"),
        ({"when": {"above": float("nan")}}, "must be a number"),
        ({"when": {"above": [1]}}, "given a list"),
        ({"when": {"above": 10**400}}, "must be a number"),
        ({"when": {"nonfinite": False}}, "can only be true"),
        ({"when": {"rises": {"within": "100 steps"}}}, "lacks by"),
        ({"when": {"rises": {"by": "20%"}}}, "lacks within"),
        ({"when": {"rises": {"by": "-20%", "within": "100 steps"}}}, "0 or more"),
        ({"when": {"rises": {"by": "20%", "within": "6 steps"}}}, "it needs 7 samples"),
        ({"when": {"rises": {"by": "20%", "within": "100 steps", "p": 0}}}, "at most 0.5"),
        ({"when": {"deviates": {"z": 6, "within": "5 steps"}}}, "it needs 20 samples"),
        ({"when": {"changes": {"by": 0, "within": "5 steps"}}}, "is 0"),
        ({"when": {"eta": {"within": "5 steps", "over": "50 steps"}}}, "needs one of above and below"),
        ({"for": "0 steps"}, "impossible"),
        ({"for": "-3 steps"}, "impossible"),
        ({"for": "2.5 steps"}, "impossible"),
        ({"for": "1e30 steps"}, "impossible"),
        ({"for": "101%"}, "no possible share"),
        ({"for": "0%"}, "no possible share"),
        ({"for": "2 years"}, "is no unit"),
        ({"for": "9e9 h"}, "impossible"),
        ({"for": "soon"}, "is no duration"),
        ({"for": {"steps": 5}}, "must be a duration"),
        ({"when": {"missing": "30 s"}}, "counted in steps or in %"),
        ({"clear": {"below": 5}}, "is impossible"),
        ({"clear": {"above": 2}}, "'above' is no key of clear"),
        ({"layers": "all"}, "loss has no layers"),
        ({"signal": "stream_rms", "layers": "all"}, "say reduce"),
        ({"signal": "stream_rms", "layers": "worst", "reduce": "max"}, "take layers: all"),
        ({"signal": "stream_rms", "layers": "7-3"}, "runs backwards"),
        ({"signal": "stream_rms", "layers": "first"}, "selects no layers"),
        ({"signal": "stream_rms", "layers": []}, "selects no layers"),
        ({"severity": "page"}, "it may be info, warning, critical"),
        ({"claim": "event"}, "it may be rule, structural"),
        ({"labels": {"severity": "x"}}, "set by foreshock itself"),
        ({"labels": {"my label": "x"}}, "is no name of a label"),
        ({"labels": "x"}, "must be a mapping"),
        ({"schedule": {"from": "50 steps", "until": "50 steps"}}, "there is no step"),
        ({"schedule": {"until": "30 s"}}, "counted in steps or in %"),
        ({"inhibited_by": "nobody"}, "there is no rule 'nobody'"),
        ({"inhibited_by": "exit_amux"}, "did you mean exit_amax?"),
        ({"inhibited_by": "mine"}, "mine <- mine"),
        ({"advice": "x" * 3000}, "at most 2000 characters"),
        ({"rule": "x"}, "is no key of rule mine"),
    ],
)
def test_what_a_rule_may_not_be(changes, words):
    told = problems(rule(**changes))
    assert any(words in one for _, _, one in told), told
    assert len(told) == 1, told


def test_words_that_yaml_would_turn_into_something_else_stay_words():
    (read,) = read_rules(b"rules: [{name: no_, signal: loss, when: {above: 1e-3}, labels: {on: off}}]").own
    assert read.criterion.threshold == 1e-3 and read.labels == (("on", "off"),)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "the file is empty"),
        ("# nothing\n", 1, "the file is empty"),
        ("rules: [\n  {name: x\n", 3, "this is no YAML"),
        ("rules:\n\t- name: x\n", 2, "this is no YAML"),
        ("- a\n", 1, "a rules file is a mapping"),
        ("just words", 1, "a rules file is a mapping"),
        ("rules: 7\n", 1, "rules must be a list"),
        ("rules: [7]\n", 1, "a rule must be a mapping"),
        ("rules:\n", 1, "is empty"),
        ("rules: []\nrules: []\n", 2, "stands twice"),
        ("rules: &a []\n", 1, "the anchor &a"),
        ("rules: *a\n", 1, "the alias *a"),
        ("rules: !!python/object/apply:os.system ['true']\n", 1, "the tag"),
        ("rules: []\n---\nrules: []\n", 2, "a second document"),
        ("? [a]\n: b\n", 1, "a key must be a word"),
        ("rules: " + "[" * 100_000, 1, "nested more than 8 deep"),
        (b"rules: []\n# \xff\n", 2, "0xff is no UTF-8"),
        ("rules: []\n# \x07\n", 2, "U+0007"),
        ('rules: "\\UFFFFFFFF"\n', 1, "this is no YAML"),
        (b"#" * (MAX_BYTES + 1), 1, f"over {MAX_BYTES} bytes"),
        ("shipped: {loss_spike: on}\n", 1, "say off"),
        ("shipped: {nonfinite: {clear_steps: -1}}\n", 1, "0 or more"),
        ("shipped: {nonfinite: {clear_steps: 1.5}}\n", 1, "a whole number"),
        ("shipped: {exit_amax: {test: {p_value: 2}}}\n", 1, "from 0 to 1"),
        ("shipped: {exit_amax: {clear_threshold: 11}}\n", 1, "at most threshold, 10"),
        ("shipped: {exit_amax: {test: {min_samples: 100, max_samples: 5}}}\n", 1, "at least min_samples"),
        ("own_series: {loss: scalar}\n", 1, "is in the catalogue"),
        ("own_series: {mine: vector}\n", 1, "it may be scalar, per_layer"),
        ("own_series: {'my own': scalar}\n", 1, "is no series name"),
        ("own_series: {'mine[3]': per_layer}\n", 1, "say mine: per_layer"),
        ("rules: [" + "{}," * 201 + "]\n", 1, "at most 200"),
    ],
)
def test_what_a_file_may_not_be(text, line, words):
    told = problems(text)
    assert any(words in one and line == at for at, _, one in told), told


def test_a_bomb_of_aliases_is_refused_before_it_unfolds():
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for one, other in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{one}: &{one} [{', '.join([f'*{other}'] * 9)}]\n"
    assert problems(bomb) == [(1, 4, "the anchor &a is not taken: rules files have no aliases")]


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(RulesFileError, match="cannot be read"):
            load_rules(path)


def test_a_circle_of_inhibition_is_named():
    entries = [
        {"name": name, "signal": "loss", "when": {"above": 3}, "inhibited_by": [other]}
        for name, other in (("a", "b"), ("b", "c"), ("c", "b"), ("d", "exit_amax"))
    ]
    ((_, _, words),) = problems(yaml.safe_dump({"rules": entries}))
    assert "b <- c <- b" in words


def test_what_is_switched_off_inhibits_nothing():
    text = "shipped: {exit_amax: off}\n" + rule(inhibited_by="exit_amax")
    ((_, _, words),) = problems(text)
    assert "switched off" in words


@given(st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefx"), max_size=3)))
def test_inhibition_is_a_circle_or_an_order(graph):
    cycles = find_cycles(graph)
    for cycle in cycles:
        assert cycle[0] == cycle[-1]
        assert all(after in graph[before] for before, after in itertools.pairwise(cycle))
    if not cycles:
        order = in_order(graph)
        assert sorted(order) == sorted(graph)
        for name in graph:
            assert all(order.index(one) < order.index(name) for one in graph[name] if one in graph)


SCALARS = [series for series, signal in catalogue_series() if not signal.per_layer]
LAYERED = [series for series, signal in catalogue_series() if signal.per_layer]
numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6, allow_subnormal=False)
amounts = st.integers(1, 90).map(lambda n: f"{n}%") | st.floats(0.001, 1e6)
steps = st.integers(30, 10_000).map(lambda n: f"{n} steps") | st.integers(1, 100).map(lambda n: f"{n}%")
durations = steps | st.integers(1, 5000).map(lambda n: f"{n} s")
words = st.text("abc xyz:#-'\"{}[]&*!%@,.", max_size=40).map(lambda text: " ".join(text.split()))
whens = st.one_of(
    st.fixed_dictionaries({"above": numbers}),
    st.fixed_dictionaries({"rises": st.fixed_dictionaries({"by": amounts, "within": steps})}),
    st.fixed_dictionaries({"falls": st.fixed_dictionaries({"by": amounts, "within": steps})}),
    st.fixed_dictionaries({"changes": st.fixed_dictionaries({"by": amounts, "within": steps})}),
    st.fixed_dictionaries(
        {"deviates": st.fixed_dictionaries({"z": st.sampled_from([-9, 5.5]), "within": steps})}
    ),
    st.fixed_dictionaries({"missing": steps}),
    st.just({"nonfinite": True}),
    st.fixed_dictionaries({"eta": st.fixed_dictionaries({"below": numbers, "within": steps, "over": steps})}),
)
places = st.one_of(
    st.fixed_dictionaries({"signal": st.sampled_from(SCALARS)}),
    st.fixed_dictionaries(
        {"signal": st.sampled_from(LAYERED), "layers": st.sampled_from(["worst", "last", "0", 7])}
    ),
    st.fixed_dictionaries(
        {
            "signal": st.sampled_from(LAYERED).map(lambda name: f"{name} / loss"),
            "layers": st.sampled_from(["all", "0-3", ["0", "4-7", "last"]]),
            "reduce": st.sampled_from(["max", "min", "mean"]),
        }
    ),
)
entries = st.builds(
    lambda place, rest: {**place, **rest},
    places,
    st.fixed_dictionaries(
        {"when": whens},
        optional={
            "for": durations,
            "clear": st.fixed_dictionaries({"for": durations}),
            "severity": st.sampled_from(["info", "warning", "critical"]),
            "claim": st.sampled_from(["rule", "structural"]),
            "labels": st.dictionaries(st.sampled_from(["team", "tier"]), words, max_size=2),
            "summary": words.filter(bool),
            "advice": words.filter(bool),
            "schedule": st.fixed_dictionaries({}, optional={"from": st.just("3%"), "until": st.just("40%")}),
            "inhibited_by": st.lists(st.sampled_from(["exit_amax", "nonfinite"]), unique=True),
        },
    ),
)


def written(rules):
    named = [{"name": f"r{number}", **rule} for number, rule in enumerate(rules)]
    named = [
        {key: value for key, value in rule.items() if not (key == "labels" and "" in value.values())}
        for rule in named
    ]
    return json.dumps({"rules": named})


@settings(max_examples=150, deadline=None)
@given(st.lists(entries, min_size=1, max_size=4))
def test_a_valid_file_says_itself_again(rules):
    text = written(rules)
    first = read_rules(text.encode())
    again = read_rules(json.dumps({"rules": [rule.said() for rule in first.own]}).encode())
    assert again.own == first.own


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_corruption_is_read_or_told_with_its_line(data):
    text = EXAMPLE.read_bytes()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        stop = min(len(text), start + data.draw(st.integers(0, 40)))
        put = data.draw(
            st.binary(max_size=8) | st.text("{}[]&*!|>%@`'\"#-:? \n\t\\0", max_size=6).map(str.encode)
        )
        text = text[:start] + put + text[stop:]
    try:
        read_rules(text)
    except RulesFileError as error:
        num_lines = text.count(b"\n") + 2
        assert error.problems
        for one in error.problems:
            # YAML ends lines at more than line feeds
            assert (
                1
                <= one.place.line
                <= num_lines + text.count(b"\r") + text.count(b"\xc2\x85") + text.count(b"\xe2\x80")
            )
            assert one.place.column >= 1 and one.words


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | numbers | words,
        lambda part: (
            st.lists(part, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "rules",
                        "shipped",
                        "own_series",
                        "name",
                        "signal",
                        "when",
                        "above",
                        "exit_amax",
                        "clear",
                        "for",
                        "layers",
                        "labels",
                        "schedule",
                        "rises",
                        "eta",
                    ]
                ),
                part,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_yaml_is_read_or_told(tree):
    try:
        read_rules(yaml.safe_dump(tree).encode())
    except RulesFileError as error:
        assert error.problems


def test_every_key_and_condition_is_documented():
    text = README.read_text()
    for key in ("own_series", "shipped", *read_keys()):
        assert f"`{key}" in text, key


def read_keys():
    told = problems("rules: [{name: a, signal: loss, when: {above: 1, zzz: 1}, zzz: 1}]")
    lists = [words.partition("there are ")[2] for _, _, words in told if "is no key" in words]
    return ", ".join(lists).split(", ")
