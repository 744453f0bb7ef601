"""What a run knows of its machine: read now and then, told of the last step, left out where there is none."""

import os
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import psutil
import torch

from foreshock.probe import attach
from foreshock.probe.host import COLUMNS, GPU_COLUMNS, HostMeter, hardware
from foreshock.wire import is_missing


def test_it_reads_no_more_often_than_it_is_told_to():
    now = [0.0]
    meter = HostMeter(10.0, lambda: now[0])
    assert meter.columns == COLUMNS
    now[0] = 9.9
    assert meter.read() is None
    now[0] = 10.0
    assert meter.read() is not None and meter.read() is None


def test_a_busy_process_and_its_memory_are_seen():
    meter = HostMeter(0.0)
    until = time.process_time() + 0.3
    while time.process_time() < until:
        sum(range(1000))
    held = np.ones(2**24)  # 128 MiB
    row = dict(zip(meter.columns, meter.read(), strict=True))
    del held
    # A core it has, or a share of one where the machine is busy
    assert row["process_cpu_percent"] > 10
    assert 2**27 < row["process_memory_bytes"] <= psutil.virtual_memory().total
    assert 0 <= row["host_cpu_percent"] <= 100 and 0 < row["host_memory_percent"] <= 100


def test_hardware_is_part_of_the_configuration(loop, collector):
    facts = hardware()
    assert facts["cpu_count"] >= len(os.sched_getaffinity(0)) and facts["memory_bytes"] > 2**28
    probe = attach(loop.model, url=collector.url, notes="first\n  try", fork_from=("parent-1", 400))
    probe.finish()
    config = collector.declarations[-1].config
    assert config["cpu"] == facts["cpu"] and config["memory_bytes"] == facts["memory_bytes"]
    assert (config["forked_from"], config["forked_at_step"]) == ("parent-1", 400)
    assert config["notes"] == "first try"


def test_readings_are_told_of_the_last_step_and_off_the_training_thread(
    loop, tmp_path, read_spool, monkeypatch
):
    threads = set()

    class Told(HostMeter):
        def __init__(self):
            super().__init__(0.0)

        def read(self):
            threads.add(threading.current_thread().name)
            return super().read()

    monkeypatch.setattr("foreshock.probe.writer.HostMeter", Told)
    probe = attach(loop.model, loop.optimizer, mode="offline", directory=tmp_path)
    time.sleep(0.6)  # before the first step there is none to tell it of
    for _ in range(3):
        probe.step(loop.step())
    time.sleep(1.2)
    probe.step(loop.step())
    probe.finish()
    series = read_spool(probe).series["process_memory_bytes"]
    # Once a step at most, however often it was flushed meanwhile
    assert set(series) == {2, 3} and threads == {"foreshock-writer"}
    assert not probe.faults.counts


class NVMLError(Exception):
    pass


def test_a_gpu_is_read_by_its_identity_and_what_it_cannot_tell_is_missing(monkeypatch):
    """NVML is played: there is no GPU where tests run."""

    def refuse(handle):
        raise NVMLError

    asked = []
    played = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda identity: asked.append(identity) or "handle",
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=87),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=3 * 2**30),
        nvmlDeviceGetPowerUsage=refuse,
        nvmlDeviceGetTemperature=lambda handle, sensor: 61,
    )
    monkeypatch.setitem(sys.modules, "pynvml", played)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda: SimpleNamespace(uuid="ab-12"))
    meter = HostMeter(0.0)
    assert meter.columns == COLUMNS + GPU_COLUMNS and asked == [b"GPU-ab-12"]
    row = meter.read()[len(COLUMNS) :]
    assert row[[0, 1, 3]].tolist() == [87.0, 3 * 2**30, 61.0]
    assert is_missing(row).tolist() == [False, False, True, False]


def test_without_nvml_the_rest_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as where it is not installed
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert HostMeter().columns == COLUMNS


def test_an_nvml_that_does_not_answer_is_told_once_and_left_alone(monkeypatch, caplog):
    def refuse():
        raise NVMLError("no driver")

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=NVMLError, nvmlInit=refuse))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert HostMeter().columns == COLUMNS
    assert "NVML does not answer (no driver)" in caplog.text
