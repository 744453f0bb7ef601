"""The machine: where a slow or dying run is a matter of hardware."""

from typing import Final

from foreshock.dashboards.figures.frame import Figure
from foreshock.dashboards.figures.panels import Panel, panelled
from foreshock.wire.readings import RunReader, Window

PANELS: Final = (
    Panel(
        "%",
        {
            "gpu_utilisation_percent": "GPU",
            "host_cpu_percent": "CPU",
            "host_memory_percent": "memory",
        },
    ),
    Panel("GiB", {"process_memory_bytes": "process", "gpu_memory_bytes": "GPU memory"}),
    Panel("W", {"gpu_power_watts": "power"}),
    Panel("°C", {"gpu_temperature": "temperature"}),
)


def machine(reader: RunReader, window: Window) -> Figure:
    """Utilisation, memory, power and temperature of the training process and its GPU."""
    return panelled(reader, window, "Machine", "Nothing of the machine has been measured yet.", PANELS)
