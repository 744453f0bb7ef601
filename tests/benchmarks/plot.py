"""A small picture of curves over a logarithmic axis, as SVG: two colours, no library."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

WIDTH: Final = 560
HEIGHT: Final = 260
MARGIN: Final = 48
COLOURS: Final = ("#2a78d6", "#eb6834")


def log_plot(title: str, x: Sequence[float], curves: Mapping[str, Sequence[float]], unit: str) -> str:
    """Curves by name over x, which is drawn on a log scale; y begins at 0."""
    low, high = math.log10(min(x)), math.log10(max(x))
    top = max(max(values) for values in curves.values())

    def place(at: float, value: float) -> tuple[float, float]:
        along = (math.log10(at) - low) / (high - low)
        return MARGIN + along * (WIDTH - 2 * MARGIN), HEIGHT - MARGIN - value / top * (HEIGHT - 2 * MARGIN)

    parts = [_text(MARGIN, 20, f"{title} ({unit})", 13)]
    parts += [_line(*place(x[0], value), *place(x[-1], value)) for value in (0, top / 2, top)]
    parts += [_text(4, place(x[0], value)[1] + 4, f"{value:.2g}", 11) for value in (0, top / 2, top)]
    parts += [_text(place(at, 0)[0] - 10, HEIGHT - 28, f"{at:.0e}".replace("e+0", "e"), 11) for at in x]
    for number, (name, values) in enumerate(curves.items()):
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in map(place, x, values))
        colour = COLOURS[number]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(MARGIN + 240 * number, HEIGHT - 8, name, 11, colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, size: int, colour: str = "#444444") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}">{text}</text>'


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#dddddd"/>'
