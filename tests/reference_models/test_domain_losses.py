"""The loss by domain: means over its own windows, NaN kept to its domain, names that a series may have."""

import math

import torch

from foreshock.reference_models.domain_losses import DomainLosses
from foreshock.reference_models.parallel import World
from foreshock.wire import domain_loss_series, parse_column


def test_means_are_over_a_domains_own_windows_and_absent_ones_are_left_out() -> None:
    losses = DomainLosses(["a", "b", "c"])
    found = losses.of(torch.tensor([1.0, 5.0, 2.0, 9.0]), torch.tensor([2, 0, 2, 2]), World())
    assert found == {"a": 5.0, "c": 4.0}


def test_a_nan_stays_in_its_domain() -> None:
    found = DomainLosses(["a", "b"]).of(torch.tensor([1.0, math.nan, 3.0]), torch.tensor([0, 1, 0]), World())
    assert found["a"] == 2.0 and math.isnan(found["b"])


def test_one_domain_has_nothing_to_tell() -> None:
    assert DomainLosses(["a"]).of(torch.ones(2), torch.zeros(2, dtype=torch.int64), World()) == {}


def test_any_name_of_a_domain_makes_a_series() -> None:
    for name in ("code", "my poems [1] é", "x" * 300):
        column = parse_column(domain_loss_series(name))
        assert column.signal is None and column.layer is None
    assert domain_loss_series("my poems") == "domain_loss/my_poems"
