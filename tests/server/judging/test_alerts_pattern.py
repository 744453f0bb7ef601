"""Patterns held against Python's own, which reads the same language and may take for ever."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.server.alerts.pattern import MAX_PATTERN, read_pattern
from foreshock.server.errors import InvalidError

atoms = st.sampled_from(["a", "b", "-", ".", "[ab]", "[^a]", "[a-c_]", r"\d", r"\.", r"\W", "[]x]", "[^]]"])


def grow(parts):
    return st.one_of(
        st.lists(parts, min_size=1, max_size=3).map("".join),
        st.lists(parts, min_size=2, max_size=3).map(lambda some: f"({'|'.join(some)})"),
        st.tuples(parts, st.sampled_from(["*", "+", "?", "{2}", "{1,}", "{0,2}", "*?"])).map(
            lambda some: f"(?:{some[0]}){some[1]}"
        ),
    )


patterns = st.recursive(atoms, grow, max_leaves=8).filter(lambda text: len(text) <= MAX_PATTERN)


@settings(max_examples=500, deadline=None)
@given(patterns, st.lists(st.text("abc1-._]x\n", max_size=8), min_size=1, max_size=6))
def test_it_fits_what_pythons_does(pattern, values):
    own, python = read_pattern(pattern), re.compile(pattern, re.DOTALL | re.ASCII)
    for value in values:
        assert own.fits(value) == (python.fullmatch(value) is not None), (pattern, value)


# Python announces that it may read `[[` otherwise some day; so far it reads it as we do
@pytest.mark.filterwarnings("ignore:Possible .*set:FutureWarning")
@settings(max_examples=500, deadline=None)
@given(st.text("ab()[]{}|*+?\\^$.-,:23d", max_size=24))
def test_whatever_is_written_is_read_or_refused_with_the_place(text):
    try:
        own = read_pattern(text)
    except InvalidError as error:
        assert "pattern" in error.detail
        return
    python = re.compile(text, re.DOTALL | re.ASCII)
    for value in ("", "a", "ab", "a2", "abab", "-", "b3"):
        assert own.fits(value) == (python.fullmatch(value) is not None), (text, value)


@pytest.mark.parametrize("pattern", ["(a+)+", "(a|a)*", "(a*)*b", "(a?){30}a{30}", "(.*.*.*)*x"])
def test_no_pattern_takes_for_ever(pattern):
    """Python's would not be done with these before the stars are."""
    assert read_pattern(pattern).fits("a" * 400 + "!") is False


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(", "not closed"),
        (")", "never opened"),
        ("*", "nothing before"),
        ("a**", "nothing before"),
        ("[a", "missing at the end"),
        ("[z-a]", "is no range"),
        ("a{3,1}", "must rise"),
        ("a{101}", "100 at most"),
        ("a{x}", "give .2., .2,. or .2,5."),
        ("^a", "the whole value"),
        ("(?=a)", r"only \(\?:"),
        ("\\1", "not known"),
        ("a\\", "missing at the end"),
        ("(" * 21 + ")" * 21, "20 deep"),
        ("(a{100}){100}", "too large"),
        ("((((){100}){100}){100}){100}", "too large"),
        ("a" * 201, "200 are allowed"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(pattern, words):
    with pytest.raises(InvalidError, match=words):
        read_pattern(pattern)
