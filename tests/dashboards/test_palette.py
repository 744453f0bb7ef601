"""Colours: the pages and the figures agree on them, and they can be told from what they stand on."""

import re

import pytest

from foreshock.dashboards.figures import RUN_FIGURES, Theme, colours, resolve
from foreshock.dashboards.pages import STATIC_DIR
from foreshock.dashboards.recording import Recording
from foreshock.wire.readings import Window


def stylesheet(theme: Theme) -> dict[str, str]:
    """The custom properties that style.css gives a theme."""
    text = (STATIC_DIR / "style.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", text, re.DOTALL)[:2]
    return dict(re.findall(r"--([\w-]+): ([^;]+);", light if theme == "light" else dark))


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_stylesheet_gives_every_role_the_colour_of_the_palette(theme: Theme) -> None:
    properties = stylesheet(theme)
    for role, colour in colours(theme).items():
        assert properties[role] == colour


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_and_lines_can_be_told_from_their_ground(theme: Theme) -> None:
    shown = colours(theme)
    for role in ("ink", "ink-2", "critical", "warning", "info"):
        assert contrast(shown[role], shown["surface"]) >= 4.5, role
    for number in range(1, 7):
        assert contrast(shown[f"series-{number}"], shown["surface"]) >= 3, number


def test_a_resolved_figure_names_no_role_any_more() -> None:
    figure = RUN_FIGURES["loss"](Recording({"loss": ([0, 1], [2.0, 1.0])}), Window())
    assert "var(--" in str(figure)
    assert "var(--" not in str(resolve(figure, "dark"))
