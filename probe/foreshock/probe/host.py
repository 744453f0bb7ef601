"""What the training process and its machine are doing: read every ten seconds, off the training thread."""

import logging
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from foreshock.wire import MISSING

_logger = logging.getLogger("foreshock.probe")

HOST_SECONDS: Final = 10.0
COLUMNS: Final = ("process_cpu_percent", "process_memory_bytes", "host_cpu_percent", "host_memory_percent")
GPU_COLUMNS: Final = ("gpu_utilisation_percent", "gpu_memory_bytes", "gpu_power_watts", "gpu_temperature")


class HostMeter:
    """Reads processor and memory through psutil, and the process's GPU through NVML where there is one.

    NVML comes with the package nvidia-ml-py; without it, or without a GPU of Nvidia's, those columns are
    left out. Nothing is read more often than every `seconds`.
    """

    def __init__(self, seconds: float = HOST_SECONDS, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._now = seconds, now
        self._process = psutil.Process()
        self._gpu = _gpu_reader()
        self.columns = COLUMNS + (GPU_COLUMNS if self._gpu else ())
        # psutil tells a share of the time since it was asked last, and means nothing the first time
        self._process.cpu_percent()
        psutil.cpu_percent()
        self._read_at = now()

    def read(self) -> NDArray[np.float32] | None:
        """A reading in the order of `columns`; None while it is not yet time."""
        now = self._now()
        if now - self._read_at < self._seconds:
            return None
        self._read_at = now
        own = (self._process.cpu_percent(), self._process.memory_info().rss)
        host = (psutil.cpu_percent(), psutil.virtual_memory().percent)
        row = np.array((*own, *host), np.float32)
        return row if self._gpu is None else np.concatenate((row, self._gpu()))


def hardware() -> dict[str, Any]:
    """What the machine is, for the run's configuration."""
    facts: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cpu_count": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }
    # A process that does not use the GPU must not begin to by asking
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        facts["gpu"] = torch.cuda.get_device_name()
        facts["gpu_count"] = torch.cuda.device_count()
        facts["gpu_total_memory_bytes"] = torch.cuda.get_device_properties().total_memory
    return facts


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(names, "unknown")
    except OSError:
        return "unknown"


def _gpu_reader() -> Callable[[], NDArray[np.float32]] | None:
    """Reads the GPU that this process computes on; None where there is none that NVML knows."""
    if not torch.cuda.is_initialized() or torch.version.cuda is None:  # type: ignore[no-untyped-call]
        return None
    try:
        import pynvml  # type: ignore[import-not-found]
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        # By identity: CUDA_VISIBLE_DEVICES changes torch's numbers, not NVML's
        identity = torch.cuda.get_device_properties().uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{identity}".encode())
    except pynvml.NVMLError as error:
        _logger.warning("NVML does not answer (%s): nothing is told of the GPU", error)
        return None

    def one(read: Callable[[], float]) -> float:
        try:
            return float(read())
        except pynvml.NVMLError:
            return float(MISSING[0])

    def read() -> NDArray[np.float32]:
        return np.array(
            (
                one(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
                one(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used),
                one(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3),
                one(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
            ),
            np.float32,
        )

    return read
