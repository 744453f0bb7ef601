"""What a training process that dies at once leaves behind, and what a clock that jumps does to the order."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from foreshock.probe import attach
from foreshock.probe.spool import Spool
from foreshock.wire import Batch, batch_steps, batch_times, decode_record

_TRAIN = """
import sys, time, torch
from foreshock.probe import attach
model = torch.nn.Linear(4, 4)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
probe = attach(model, optimizer, mode="offline", directory=sys.argv[1], run_id="killed")
step = 0
while True:
    loss = model(torch.ones(2, 4)).square().mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    probe.step(loss)
    # Both clocks are the machine's, so they can be compared with the parent's
    print(step, time.time(), flush=True)
    step += 1
    time.sleep(0.01)
"""


def test_a_process_that_is_killed_loses_at_most_a_second(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _TRAIN, str(tmp_path)]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.split())
            if len(lines) == 300:
                break
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
    taken = {int(step): float(when) for step, when in (*lines, *(line.split() for line in rest if line))}
    spool = Spool(tmp_path / "runs" / "killed" / "rank-0" / "attempt-0")
    records = [decode_record(entry.data) for entry in spool.read(0, 2**40)]
    kept = {int(step) for record in records if isinstance(record, Batch) for step in batch_steps(record)}
    assert kept == set(range(max(kept) + 1))
    lost = [when for step, when in taken.items() if step not in kept]
    # Half a second between flushes, and what a busy machine adds to it
    assert not lost or max(taken.values()) - min(lost) < 1.0


def test_a_clock_that_goes_back_reorders_nothing(loop, collector, monkeypatch) -> None:
    probe = attach(loop.model, loop.optimizer, url=collector.url)
    real, behind = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() - behind[0])
    for step in range(30):
        if step == 10:
            behind[0] = 86_400.0  # a day back
        if step == 20:
            behind[0] = -3_600.0  # an hour ahead
        probe.log({"mine": float(step)})
        probe.step(loop.step())
    probe.finish()
    stored = collector.stored()
    for name in ("loss", "mine"):
        assert list(stored.series[name]) == list(range(30))
    assert list(stored.series["mine"].values()) == [float(step) for step in range(30)]
    # The times are told as the clock had them: the order is that of the steps
    times = [t for record in stored.records if isinstance(record, Batch) for t in batch_times(record)]
    assert min(times) < max(times) - 86_000
    assert not probe.faults.counts
