"""A command that is asked to end takes its children with it, however often it is asked."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_COMMAND = """
import subprocess, sys, time
from foreshock.reference_models.collector_process import stop_process
from foreshock.reference_models.termination import terminate_as_interrupt
CHILD = '''
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1]).write_text("ended in order")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
while True:
    time.sleep(0.05)
'''
with terminate_as_interrupt():
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True
    )
    child.stdout.readline()
    try:
        print(child.pid, flush=True)
        while True:
            time.sleep(0.05)
    except KeyboardInterrupt:
        pass
    finally:
        stop_process(child)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("request_", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("pauses", [(), (0.0,), (0.0, 0.1, 0.1)], ids=["once", "at once again", "often"])
def test_children_end_in_order_however_often_the_command_is_asked(
    request_: signal.Signals, pauses: tuple[float, ...], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    with subprocess.Popen([sys.executable, "-c", _COMMAND, str(told)], stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        child = int(command.stdout.readline())
        command.send_signal(request_)
        for pause in pauses:
            time.sleep(pause)
            command.send_signal(request_)
        assert command.wait(20) == 0
    try:
        assert not is_running(child)
        assert told.read_text() == "ended in order"
    finally:
        if is_running(child):
            os.kill(child, signal.SIGKILL)
