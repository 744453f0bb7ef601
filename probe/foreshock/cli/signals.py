"""`foreshock signals`: the catalogue, as people and as programs read it."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from foreshock.wire import CATALOGUE


def signals(
    as_json: Annotated[bool, typer.Option("--json", help="Print the catalogue as JSON.")] = False,
) -> None:
    """List every signal: what it means, its formula, unit, healthy band and source."""
    if as_json:
        print(json.dumps([asdict(signal) for signal in CATALOGUE.values()], indent=2))
        return
    table = Table(box=None, pad_edge=False, row_styles=("", "dim"))
    for title in ("signal", "what it is", "formula", "unit", "healthy", "cadence"):
        table.add_column(title, overflow="fold")
    for signal in CATALOGUE.values():
        name = signal.name + ("[layer]" if signal.per_layer else "")
        suffix = " _" + " _".join(signal.reductions) if signal.reductions else ""
        healthy = f"{signal.healthy.low:g} to {signal.healthy.high:g}" if signal.healthy else "-"
        table.add_row(name + suffix, signal.description, signal.formula, signal.unit, healthy, signal.cadence)
    Console().print(table)
