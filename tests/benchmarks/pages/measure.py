"""The pages' figures beside their aims, and beside the same run in other pages."""

import os
from typing import Any, Final

from tests.benchmarks.pages import ours, peers
from tests.benchmarks.pages.sizes import Sizes

# What is measured, how to find it, and the aim
_AIMS: Final = (
    ("first useful paint, cold", ("first_useful_paint_cold_ms", "median"), 2000, "ms"),
    ("first useful paint, warm", ("first_useful_paint_warm_ms", "median"), 700, "ms"),
    ("zoom to detail", ("zoom_to_detail_ms", "median"), 300, "ms"),
    ("list of runs", ("list_of_runs_ms", "median"), 1000, "ms"),
    ("main thread, a live update", ("live", "main_thread_ms_an_update"), 150, "ms"),
    ("a live minute", ("live", "bytes_a_minute"), 300_000, "bytes"),
    ("heap after all updates", ("live", "heap_growth_percent"), 20, "% more"),
)


def measure(sizes: Sizes | None = None) -> dict[str, Any]:
    """Everything; a quarter of an hour on a machine that does nothing else."""
    sizes = sizes or Sizes()
    load = os.getloadavg()[0]
    return {
        "run": f"{sizes.num_layers} layers x {sizes.num_signals} signals x {sizes.num_steps} steps",
        "runs_listed": sizes.num_runs,
        "ours": ours.measure(sizes),
        "peers": peers.measure(sizes),
        "load_before_and_after": [round(load, 1), round(os.getloadavg()[0], 1)],
    }


def page(result: dict[str, Any]) -> str:
    """The figures as tables."""
    machine, found, load = result["machine"], result["ours"], result["load_before_and_after"]
    lines = [
        "# The pages in headless Chromium",
        "",
        f"Measured {machine['date']} at {machine['commit']}, {machine['cores']} cores ({machine['cpu']}); "
        f"processes waiting for them before and after: {load[0]} and {load[1]}. Where that is more than the "
        "cores, others worked there too, and times are longer than the pages' own.",
        "",
        f"A run of {result['run']}; the list is of {result['runs_listed']:,} runs. First useful paint: the "
        "sentence of health, the loss, the composite gain and the map are drawn. Cold: a collector just "
        "started, a browser that was never here. Warm: its third visit or later, when it has kept plotly.js "
        "compiled.",
        "",
        "| | measured | aim | |",
        "|---|---:|---:|---|",
    ]
    for name, path, aim, unit in _AIMS:
        value: Any = found
        for key in path:
            value = value[key]
        lines.append(
            f"| {name} | {value:,} {unit} | {aim:,} {unit} | {'met' if value <= aim else 'missed'} |"
        )
    live = found["live"]
    lines += [
        "",
        f"Live: {live['updates_a_minute']} updates a minute; after {live['heap_after_updates']:,} updates "
        f"{live['heap_mib_after']} MiB of heap, {live['heap_mib_before']} before.",
        "",
        *_peer_lines(result["peers"]),
    ]
    return "\n".join(lines)


def _peer_lines(found: dict[str, Any]) -> list[str]:
    if "left_out" in found:
        return [f"TensorBoard and trackio: left out; {found['left_out']}.", ""]
    lines = [
        f"The first {found['steps']:,} steps of the same run, until the first chart (any) is drawn:",
        "",
        "| | cold ms | warm ms | bytes cold | bytes warm |",
        "|---|---:|---:|---:|---:|",
    ]
    for name in ("tensorboard", "trackio"):
        one = found[name]
        keys = ("first_chart_cold_ms", "first_chart_warm_ms", "bytes_cold", "bytes_warm")
        lines.append(f"| {name} | {' | '.join(f'{one[key]:,}' for key in keys)} |")
    return [*lines, ""]
