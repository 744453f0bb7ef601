"""Draws panels of signals around an alert's step as a PNG, without a browser."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from foreshock.dashboards.figures import colours
from foreshock.dashboards.figures.numbers import words
from foreshock.server.alerts.panel import Panel
from foreshock.wire.readings import FloatArray

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

WIDTH: Final = 1200
COLUMNS: Final = 3
MARGIN: Final = 24
GAP: Final = 18
PANEL_HEIGHT: Final = 132
# Drawn twice as large and brought down, which smooths every line
SCALE: Final = 2
_COLOURS: Final = colours("light")
_MAX_LINES: Final = 4
_AXIS_WIDTH: Final = 52

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Caption:
    """The words over a picture. `start`, `stop` and `step` are the window's and the alert's."""

    title: str
    reason: str
    note: str
    severity: str
    start: int
    stop: int
    step: int


def draw_picture(caption: Caption, panels: Sequence[Panel]) -> bytes:
    """The picture as PNG bytes."""
    from PIL import Image, ImageDraw

    reason = textwrap.wrap(_plain(caption.reason), 165, max_lines=_MAX_LINES, placeholder=" ...")
    top = MARGIN + 34 + 19 * len(reason) + 34
    num_rows = max(1, -(-len(panels) // COLUMNS))
    height = top + num_rows * (PANEL_HEIGHT + GAP) + MARGIN - GAP + 8
    image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), _COLOURS["surface"])
    sheet = _Sheet(ImageDraw.Draw(image, "RGBA"))
    _write_caption(sheet, caption, reason, height)
    width = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
    for index, panel in enumerate(panels):
        row, column = divmod(index, COLUMNS)
        left, upper = MARGIN + column * (width + GAP), top + row * (PANEL_HEIGHT + GAP)
        _draw_panel(sheet, panel, caption, (left, upper, left + width, upper + PANEL_HEIGHT))
    if not panels:
        sheet.text((MARGIN, top), "Nothing is stored of these steps.", 14, "ink-2")
    small = image.resize((WIDTH, height), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    small.quantize(255, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(held, "PNG")
    return held.getvalue()


class _Sheet:
    """Draws in the units of the finished picture, in colours by their role."""

    def __init__(self, draw: "ImageDraw.ImageDraw") -> None:
        self._draw = draw
        self._fonts: dict[int, ImageFont.FreeTypeFont | ImageFont.ImageFont] = {}

    def font(self, size: int) -> Any:
        """Pillow's own font, which is everywhere."""
        from PIL import ImageFont

        if size not in self._fonts:
            self._fonts[size] = ImageFont.load_default(size * SCALE)
        return self._fonts[size]

    def text(self, at: tuple[float, float], said: str, size: int, role: str, anchor: str = "la") -> None:
        place = (at[0] * SCALE, at[1] * SCALE)
        self._draw.text(place, _plain(said), fill=_rgba(role), font=self.font(size), anchor=anchor)

    def width(self, said: str, size: int) -> float:
        return float(self.font(size).getlength(_plain(said))) / SCALE

    def fill(self, box: Box, role: str) -> None:
        self._draw.rectangle([edge * SCALE for edge in box], fill=_rgba(role))

    def line(self, points: Sequence[tuple[float, float]], role: str, width: float = 1.0) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        if len(points) == 1:
            ((x, y),) = scaled
            radius = 1.5 * SCALE
            self._draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=_rgba(role))
        else:
            self._draw.line(scaled, fill=_rgba(role), width=round(width * SCALE), joint="curve")

    def area(self, points: Sequence[tuple[float, float]], role: str) -> None:
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=_rgba(role))


def _write_caption(sheet: _Sheet, caption: Caption, reason: Sequence[str], height: int) -> None:
    sheet.fill((0, 0, 6, height), caption.severity)
    sheet.text((MARGIN, MARGIN - 6), caption.title, 20, "ink")
    below = MARGIN + 26
    for index, one in enumerate(reason):
        sheet.text((MARGIN, below + 19 * index), one, 14, "ink-2")
    sheet.text((MARGIN, below + 19 * len(reason) + 6), caption.note, 12, "ink-2")


def _draw_panel(sheet: _Sheet, panel: Panel, caption: Caption, box: Box) -> None:
    left, upper, right, lower = box
    plot = (left + _AXIS_WIDTH, upper + 22, right, lower - 16)
    axis = _Axis.of(panel, plot, caption)
    _write_head(sheet, panel, axis, caption, (left, upper))
    _draw_ground(sheet, panel, axis, caption)
    for one in _runs_of(axis, panel.low, panel.high):
        if len(one) > 1:
            low = [(axis.x(panel.steps[at]), axis.y(panel.low[at])) for at in one]
            high = [(axis.x(panel.steps[at]), axis.y(panel.high[at])) for at in one]
            sheet.area([*high, *reversed(low)], "series-1-band")
    own = () if panel.own is None else (panel.own,)
    for number, values in enumerate((panel.middle, *own) if not panel.lines else _values(panel), 1):
        for one in _runs_of(axis, values):
            points = [(axis.x(panel.steps[at]), axis.y(values[at])) for at in one]
            sheet.line(points, f"series-{number}", 1.6)
    for step in panel.broken:
        x = axis.x(step)
        sheet.fill((x - 1, plot[1], x + 1, plot[1] + 7), "critical")
    # Over everything: the moment that all panels share
    sheet.line([(axis.x(caption.step), plot[1]), (axis.x(caption.step), plot[3])], caption.severity, 1.2)


def _write_head(
    sheet: _Sheet, panel: Panel, axis: "_Axis", caption: Caption, at: tuple[float, float]
) -> None:
    told = ", ".join(filter(None, (panel.series, panel.unit, "log" if axis.is_log else "")))
    value = "" if panel.lines else _value_at(panel, caption.step)
    right = axis.box[2]
    for number, (name, _) in reversed(list(enumerate(panel.lines, 1))):
        sheet.text((right, at[1] + 1), name, 12, f"series-{number}", "ra")
        right -= sheet.width(name, 12) + 8
    room = right - at[0] - sheet.width(value, 12) - 8
    sheet.text(at, _cut(sheet, told, 13, room), 13, "ink")
    sheet.text((right, at[1] + 1), value, 12, "ink-2", "ra")


def _values(panel: Panel) -> tuple[FloatArray, ...]:
    return tuple(values for _, values in panel.lines)


def _value_at(panel: Panel, step: int) -> str:
    """The value at the alert's step, or the last one before it."""
    before = np.flatnonzero(panel.steps <= step)
    if not len(before):
        return "none before"
    # Where it is not finite, that is the news
    at = int(before[-1])
    if panel.steps[at] in panel.broken:
        return "not finite"
    values = panel.middle if panel.own is None else panel.own
    known = before[np.isfinite(values[before])]
    if not len(known):
        return ""
    at = int(known[-1])
    if panel.num_layers is None or panel.own is not None:
        return words(float(values[at]))
    return f"{words(float(panel.low[at]))} to {words(float(panel.high[at]))}"


@dataclass(frozen=True, slots=True)
class _Axis:
    """Steps and values to places in a box."""

    box: Box
    start: float
    stop: float
    low: float
    high: float
    is_log: bool

    @classmethod
    def of(cls, panel: Panel, box: Box, caption: Caption) -> "_Axis":
        own = () if panel.own is None else (panel.own,)
        values = np.concatenate([panel.low, panel.high, panel.middle, panel.shown, *own, *_values(panel)])
        values = values[np.isfinite(values)]
        is_log = panel.log_scale and bool((values > 0).all()) and len(values) > 0
        if is_log and values.max() / values.min() < 4:
            is_log = False
        scaled = np.log10(values) if is_log else values
        low, high = (0.0, 1.0) if not len(scaled) else (float(scaled.min()), float(scaled.max()))
        # A flat line lies in the middle, and rounding is not blown up into a storm
        room = max((high - low) * 0.08, abs(high) * 1e-3, 1e-12)
        # A scale that begins at 0 has nothing below
        low -= 0.0 if panel.shown and low == 0.0 else room
        return cls(box, caption.start, max(caption.stop, caption.start + 1), low, high + room, is_log)

    def x(self, step: float) -> float:
        share = (step - self.start) / (self.stop - self.start)
        return self.box[0] + min(max(float(share), 0.0), 1.0) * (self.box[2] - self.box[0])

    def y(self, value: float) -> float:
        scaled = np.log10(value) if self.is_log else value
        share = (scaled - self.low) / (self.high - self.low)
        return self.box[3] - min(max(float(share), 0.0), 1.0) * (self.box[3] - self.box[1])

    def value(self, share: float) -> float:
        """The value at a share of the height."""
        scaled = self.low + share * (self.high - self.low)
        return float(10**scaled) if self.is_log else scaled


def _draw_ground(sheet: _Sheet, panel: Panel, axis: _Axis, caption: Caption) -> None:
    left, upper, right, lower = axis.box
    if panel.healthy is not None and not axis.is_log and panel.healthy[0] < panel.healthy[1]:
        sheet.fill((left, axis.y(panel.healthy[1]), right, axis.y(panel.healthy[0])), "healthy")
    elif panel.healthy is not None and axis.is_log and panel.healthy[1] > 0:
        bottom = axis.y(max(panel.healthy[0], axis.value(0)))
        sheet.fill((left, axis.y(panel.healthy[1]), right, bottom), "healthy")
    for share in (0.06, 0.5, 0.94):
        y = lower - share * (lower - upper)
        sheet.line([(left, y), (right, y)], "grid", 0.75)
        sheet.text((left - 6, y), _tick(axis.value(share), axis), 11, "ink-2", "rm")
    sheet.line([(left, lower), (right, lower)], "axis", 0.75)
    middle, own = axis.x(caption.step), f"{caption.step:,}"
    sheet.text((middle, lower + 3), own, 11, caption.severity, "ma")
    for said, x, anchor in ((f"{caption.start:,}", left, "la"), (f"{caption.stop:,}", right, "ra")):
        # An end that lies too near gives way to the step
        if abs(x - middle) > sheet.width(said, 11) + sheet.width(own, 11) / 2 + 4:
            sheet.text((x, lower + 3), said, 11, "ink-2", anchor)


def _tick(value: float, axis: _Axis) -> str:
    """As many digits as tell the ticks apart."""
    if abs(value) < 1e-9 * max(abs(axis.low), abs(axis.high), 1e-300):
        return "0"
    return f"{value:.1e}" if value and not 1e-3 <= abs(value) < 1e5 else f"{value:.3g}"


def _runs_of(axis: _Axis, *values: FloatArray) -> list[list[int]]:
    """Neighbouring places where all values can be drawn; a gap stays one."""
    is_there = np.logical_and.reduce([np.isfinite(one) for one in values])
    if axis.is_log:
        is_there &= np.logical_and.reduce([one > 0 for one in values])
    places = np.flatnonzero(is_there)
    return [part.tolist() for part in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(part)]


def _cut(sheet: _Sheet, said: str, size: int, most: float) -> str:
    while len(said) > 4 and sheet.width(said, size) > most:
        said = f"{said.removesuffix('..')[:-1]}.."
    return said


def _plain(said: str) -> str:
    """Pillow's own font has Latin letters; what it lacks is shown as a question mark."""
    one_line = " ".join(said.split())
    return one_line.encode("latin-1", "replace").decode("latin-1")


def _rgba(role: str) -> tuple[int, int, int, int]:
    """A colour by its role, as Pillow takes it."""
    said = _COLOURS[role]
    if said.startswith("#"):
        red, green, blue = (int(said[at : at + 2], 16) for at in (1, 3, 5))
        return red, green, blue, 255
    *channels, alpha = (float(part) for part in said[said.index("(") + 1 : -1].split(","))
    red, green, blue = (int(channel) for channel in channels)
    return red, green, blue, round(255 * alpha)
