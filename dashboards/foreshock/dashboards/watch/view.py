"""Glances as rich draws them, for any width."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from foreshock.dashboards.figures.numbers import words
from foreshock.dashboards.health.evidence import number_of
from foreshock.dashboards.health.health import LEVELS
from foreshock.dashboards.health.movement import LAYER_BAND, distance, is_inside
from foreshock.dashboards.health.phrases import times
from foreshock.dashboards.names import printable
from foreshock.dashboards.watch.glance import Glance, Told
from foreshock.dashboards.watch.spark import BLOCKS, BROKEN, bar, spark

COLOURS: Final = {
    "dead": "bold red",
    "risk": "bold red",
    "watch": "bold yellow",
    "partial": "bold",
    "unknown": "bold",
    "safe": "bold green",
}
_SEVERITIES: Final = {"critical": ("▼", "red"), "warning": ("◆", "yellow"), "info": ("●", "blue")}
_MAX_ALERTS: Final = 5
_GRAVITY: Final = {"critical": 0, "warning": 1}
_LABEL: Final = 7


def run_view(glance: Glance, width: int, footer: str) -> RenderableType:
    """One run: word, sentence, layer, risk, sparks, layers, open alerts."""
    return Group(*_parts(glance, width), Text(footer, style="dim", overflow="ellipsis", no_wrap=True))


def list_view(glances: Sequence[Glance], width: int, footer: str) -> RenderableType:
    """Many runs, the gravest first, a line each; narrow screens get what matters most."""
    if not glances:
        return Group(Text("No run is running."), Text(footer, style="dim"))
    table = Table(box=None, pad_edge=False, expand=True)
    table.add_column("run", overflow="ellipsis", no_wrap=True, ratio=1)
    table.add_column("health", no_wrap=True)
    table.add_column("layer", justify="right", no_wrap=True)
    table.add_column("step", justify="right", no_wrap=True)
    if width >= 80:
        table.add_column("loss", justify="right")
    for one in sorted(glances, key=lambda one: list(LEVELS).index(one.health["level"])):
        row: list[RenderableType] = [
            Text(_name(one.facts) if width >= 80 else printable(one.facts["run_id"])),
            _word(one.health),
            _layer(one.health),
            _step(one.facts),
        ]
        if width >= 80:
            row.append(Text(words(number_of((one.facts.get("summary") or {}).get("loss")))))
        table.add_row(*row)
    return Group(table, Text(footer, style="dim", overflow="ellipsis", no_wrap=True))


def plain_line(glance: Glance) -> str:
    """One run as one line, for logs and pipes."""
    health = glance.health
    name = f"{printable(glance.facts['run_id'])} step {glance.facts['last_step']}"
    return f"{name}: {health['sign']} {health['word']}. {health['sentence']}"


def _parts(glance: Glance, width: int) -> Iterator[RenderableType]:
    head = Text(_name(glance.facts), style="bold", overflow="ellipsis", no_wrap=True)
    yield head
    yield Text(f"{glance.facts['state']}, step {_step(glance.facts)}", style="dim")
    yield Text()
    yield _word(glance.health)
    yield _moving(glance.health)
    yield Text(str(glance.health["sentence"]))
    yield Text()
    yield from _risks(glance.health, width)
    yield from _spark("loss", glance.losses, _last(glance.losses), width)
    yield from _spark("gain", [_log(one) for one in glance.gains], _gain_now(glance), width)
    yield from _strip(glance.layers, width)
    yield from _alerts(glance.alerts)


def _word(health: Told) -> Text:
    return Text(f"{health['sign']} {health['word']}", style=COLOURS[health["level"]])


def _moving(health: Told) -> Text:
    """The answer to "which layer, and since when" by itself, for those who read no further."""
    if health["layer"] is None:
        return Text("no layer moves" if health["level"] == "safe" else "no layer stands out", style="bold")
    since = "" if health["moved_since"] is None else f" since step {health['moved_since']}"
    return Text(f"layer {health['layer']} moves{since}", style="bold")


def _layer(health: Told) -> Text:
    if health["layer"] is None:
        return Text("-", style="dim")
    since = "" if health["moved_since"] is None else f" since {health['moved_since']}"
    return Text(f"{health['layer']}{since}")


def _name(facts: Told) -> str:
    name, run_id = printable(facts["name"] or facts["run_id"], 80), printable(facts["run_id"])
    return name if name == run_id else f"{name} ({run_id})"


def _step(facts: Told) -> str:
    step = "-" if facts["last_step"] < 0 else str(facts["last_step"])
    return f"{step}/{facts['total_steps']}" if facts.get("total_steps") else step


def _risks(health: Told, width: int) -> Iterator[Text]:
    """The forecast's risk of a spike within each horizon, as bars."""
    for horizon, risk in (health.get("risk") or {}).items():
        name = f"{horizon} of the run" if horizon.endswith("%") else f"{horizon} steps"
        line = Text(f"{'risk':{_LABEL}}")
        line.append(bar(risk, max(8, min(30, width - 30))), style="red" if risk >= 0.5 else "yellow")
        line.append(f" {risk:.2f} within {name}")
        yield line


def _spark(name: str, values: Sequence[float], now: str, width: int) -> Iterator[Text]:
    if values:
        drawn = spark(values, max(8, width - _LABEL - 12))
        yield Text(f"{name:{_LABEL}}{drawn} {now}", no_wrap=True, overflow="ellipsis")


def _strip(layers: Sequence[float], width: int) -> Iterator[Text]:
    """Each layer's gain as a character: its distance from 1, red where it has left its band."""
    if not layers:
        return
    room = max(8, width - _LABEL)
    most = max((distance(one) for one in layers if math.isfinite(distance(one))), default=0.0)
    for start in range(0, len(layers), room):
        line = Text(f"{'layers' if start == 0 else start:<{_LABEL}}")
        for gain in layers[start : start + room]:
            inside = is_inside(gain, LAYER_BAND)
            line.append(_cell(gain, most), style="green" if inside else "red")
        yield line


def _cell(gain: float, most: float) -> str:
    if not math.isfinite(distance(gain)):
        return BROKEN
    share = 0.0 if most <= 0 else distance(gain) / most
    # A run whose layers all keep their band looks as calm as it is
    scaled = share if most > distance(LAYER_BAND.high) else share * most / distance(LAYER_BAND.high) / 2
    return BLOCKS[min(len(BLOCKS) - 1, int(scaled * len(BLOCKS)))]


def _alerts(alerts: Sequence[Told]) -> Iterator[Text]:
    if not alerts:
        return
    yield Text()
    ordered = sorted(alerts, key=lambda one: (_GRAVITY.get(one["severity"], 2), one["opened_step"]))
    for one in ordered[:_MAX_ALERTS]:
        sign, colour = _SEVERITIES.get(one["severity"], _SEVERITIES["info"])
        step = one["opened_step"] if one["fired_step"] is None else one["fired_step"]
        line = Text(f"{sign} {printable(one['rule']).replace('_', ' ')}", style=colour)
        seen = ", seen" if one.get("acknowledged_at") else ""
        pending = ", pending" if one["state"] == "pending" else ""
        line.append(f" step {step}{pending}{seen}: {printable(one['reason'], 1000)}", style="none")
        line.no_wrap, line.overflow = True, "ellipsis"
        yield line
    if len(ordered) > _MAX_ALERTS:
        yield Text(f"{len(ordered) - _MAX_ALERTS} more open", style="dim")


def _log(gain: float) -> float:
    return math.log(gain) if gain > 0 else math.nan


def _last(values: Sequence[float]) -> str:
    return words(values[-1]) if values else ""


def _gain_now(glance: Glance) -> str:
    """The newest gain: the one that the health speaks of, where it speaks of one."""
    value = number_of(glance.health["value"])
    if value is not None and str(glance.health["series"]).startswith("layer_"):
        return times(value)
    return times(glance.gains[-1]) if glance.gains else ""
