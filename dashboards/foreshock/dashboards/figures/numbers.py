"""Numbers as a figure holds them: JSON-safe, short, and with words for the ones JSON cannot hold."""

import math
import textwrap

import numpy as np

from foreshock.wire.readings import FloatArray, IntArray

SIGNIFICANT_DIGITS = 6


def finite(values: FloatArray) -> list[float | None]:
    """The values with six significant digits, None where they are not finite."""
    with np.errstate(all="ignore"):
        scale = 10.0 ** (SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(values))))
        rounded = np.round(values * scale) / scale
    kept = np.where(np.isfinite(rounded), rounded, values)
    return [number if math.isfinite(number) else None for number in kept.tolist()]


def positive(values: FloatArray) -> FloatArray:
    """The values that a logarithmic axis can show; NaN elsewhere."""
    return np.where(values > 0, values, np.nan)


def steps(values: IntArray) -> list[int]:
    """Steps as plain integers."""
    return [int(step) for step in values.tolist()]


def words(value: float | None) -> str:
    """A number as people read it: four significant digits, NaN and +Inf by name."""
    if value is None or math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value != 0 and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    return f"{value:.4g}"


def gain(value: float) -> str:
    """A gain as people read it, with its times sign."""
    return f"{words(value)}\N{MULTIPLICATION SIGN}"


def over_tokens(reduction: str | None) -> str:
    """How a value came from its tokens, as words after it: mean and maximum of one step differ."""
    return "" if reduction is None else f", {reduction} over tokens"


def plain(text: str, limit: int = 80) -> str:
    """Text that plotly draws as it stands: its subset of HTML is escaped, long text is cut."""
    cut = text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def wrapped(text: str, width: int = 56, max_lines: int = 8) -> str:
    """Longer text for a hover box or beneath a title, escaped and broken into lines; what is cut is told."""
    lines = textwrap.wrap(text, width, max_lines=max_lines, placeholder=" \N{HORIZONTAL ELLIPSIS}")
    return "<br>".join(plain(line, width) for line in lines)
