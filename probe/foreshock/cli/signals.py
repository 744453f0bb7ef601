"""`foreshock signals`: the catalogue, as people and as programs read it."""

import json
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from foreshock.wire import CATALOGUE, Signal

# Names are copied into code and queries, so they never wrap; below this width the rest moves under them
WIDE: Final = 150


def signals(
    as_json: Annotated[bool, typer.Option("--json", help="Print the catalogue as JSON.")] = False,
) -> None:
    """List every signal: what it means, its formula, unit, healthy band and source."""
    if as_json:
        print(json.dumps([asdict(signal) for signal in CATALOGUE.values()], indent=2))
        return
    console = Console()
    if console.width >= WIDE:
        console.print(_table())
        return
    for signal in CATALOGUE.values():
        for line in _entry(signal):
            console.print(line)


def _table() -> Table:
    table = Table(box=None, pad_edge=False, row_styles=("", "dim"))
    for title in ("signal", "what it is", "formula", "unit", "healthy", "cadence"):
        table.add_column(title, overflow="fold", no_wrap=title == "signal")
    for signal in CATALOGUE.values():
        rest = (signal.description, signal.formula, signal.unit, _healthy(signal), signal.cadence)
        # As Text: a string's "[layer]" would be taken for markup and vanish
        table.add_row(*(Text(cell) for cell in (_name(signal), *rest)))
    return table


def _entry(signal: Signal) -> list[RenderableType]:
    facts = f"{signal.formula}; unit {signal.unit}; healthy {_healthy(signal)}; cadence {signal.cadence}"
    name = Text(_name(signal), style="bold", no_wrap=True, overflow="ignore")
    return [name, *(Padding(Text(line), (0, 0, 0, 4)) for line in (signal.description, facts))]


def _name(signal: Signal) -> str:
    """The name as in a column; its reductions, which come before the layer, stand behind."""
    suffix = " _" + " _".join(signal.reductions) if signal.reductions else ""
    return signal.name + ("[layer]" if signal.per_layer else "") + suffix


def _healthy(signal: Signal) -> str:
    return f"{signal.healthy.low:g} to {signal.healthy.high:g}" if signal.healthy else "-"
