"""The training process and its machine: where a slow or dying run is a matter of hardware."""

from typing import Final

from foreshock.wire.signal import Signal


def _host(name: str, description: str, unit: str) -> Signal:
    return Signal(name, description, "-", unit, "-", cadence="host")


HOST: Final = (
    _host("process_cpu_percent", "Processor time of the training process; 100 is one core", "%"),
    _host("process_memory_bytes", "Resident memory of the training process", "B"),
    _host("host_cpu_percent", "Processor time of the whole machine; 100 is all cores", "%"),
    _host("host_memory_percent", "Memory of the machine that is in use", "%"),
    _host("gpu_utilisation_percent", "Share of time in which a kernel ran on the process's GPU", "%"),
    _host("gpu_memory_bytes", "Memory of that GPU that is in use, by whomever", "B"),
    _host("gpu_power_watts", "What that GPU draws", "W"),
    _host("gpu_temperature", "Temperature of that GPU", "°C"),
)
