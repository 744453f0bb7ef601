"""The hint in plotly.js: two parentheses, and nothing else."""

from foreshock.dashboards.pages import plotly_bundle
from foreshock.dashboards.pages.bundle import eager


def test_the_installed_bundle_takes_the_hint() -> None:
    source = plotly_bundle().read_bytes()
    served = eager(source)
    assert len(served.rstrip()) == len(source.rstrip()) + 2
    assert served.replace(b"this, (() => {", b"this, () => {").replace(b"})));\n", b"}));") == source.rstrip()


def test_a_bundle_that_is_written_otherwise_is_left_alone() -> None:
    for source in (b"", b"window.Plotly = {};", b'(typeof self !== "undefined" ? self : this, () => {'):
        assert eager(source) == source
