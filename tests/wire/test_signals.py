"""The catalogue is complete and its names can be read back."""

import pytest

from foreshock.wire import CATALOGUE, UnknownSignalError, catalogue_series, is_low_worse, parse_column


def test_every_column_of_the_catalogue_parses_to_its_signal() -> None:
    for signal in CATALOGUE.values():
        for column in signal.columns(3):
            parsed = parse_column(column)
            assert parsed.signal is signal
            assert (parsed.layer is None) == (not signal.per_layer)
            assert parsed.series in signal.series


def test_every_signal_says_what_it_is() -> None:
    for signal in CATALOGUE.values():
        assert signal.description and signal.formula and signal.unit and signal.source
        assert signal.healthy is None or signal.healthy.low <= signal.healthy.high


def test_series_names_are_unique() -> None:
    names = [name for name, _ in catalogue_series()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ("headroom_bits", True),
        ("swiglu_headroom", True),
        ("router_entropy", True),
        ("composite_smallest_sum_min", True),
        ("canary_rank", True),
        # Joined by the minimum, since an expert is dead where no rank has used it; none dead is well
        ("router_dead_experts", False),
        ("layer_amax_forward_mean", False),
        ("loss", False),
    ],
)
def test_which_end_of_a_series_is_the_worse(series: str, expected: bool) -> None:
    assert is_low_worse(series) is expected


def test_a_users_series_has_no_signal() -> None:
    column = parse_column("eval/perplexity:code[12]")
    assert (column.series, column.layer, column.signal) == ("eval/perplexity:code", 12, None)


@pytest.mark.parametrize("name", ["", "[3]", "a b", "a[", "a[1][2]", "9lives", "x" * 121, "<b>", "a[100000]"])
def test_other_names_are_refused_with_the_rule(name: str) -> None:
    with pytest.raises(UnknownSignalError, match="120"):
        parse_column(name)
