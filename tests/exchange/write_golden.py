"""Writes the golden files with the libraries whose files they are: python -m tests.exchange.write_golden.

trackio 0.43.0 and wandb 0.31.0 wrote those that are committed.
"""

import gzip
import os
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def main() -> None:
    """Both trackers log the same run: losses of five steps, one more at step 100, and no numbers beside."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"TRACKIO_DIR": folder, "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
        import trackio
        import wandb

        about = {"project": "golden", "name": "hc-0", "group": "hc", "config": {"seed": 3, "lr": 0.1}}
        trackio.init(**about, embed=False, auto_log_gpu=False, auto_log_cpu=False)
        log(trackio.log)
        trackio.finish()
        quiet = wandb.Settings(
            console="off", host="host", disable_git=True, disable_code=True,
            x_disable_meta=True, x_disable_stats=True, x_disable_machine_info=True,
        )  # fmt: skip
        run = wandb.init(**about, tags=["a", "b"], dir=folder, settings=quiet)
        log(run.log)
        run.finish(exit_code=1)
        written = {"trackio.db": "*.db", "run.wandb": "wandb/*/*.wandb"}
        for name, pattern in written.items():
            data = next(Path(folder).glob(pattern)).read_bytes()
            (GOLDEN / f"{name}.gz").write_bytes(gzip.compress(data, mtime=0))


def log(take) -> None:  # type: ignore[no-untyped-def]
    """What both are told."""
    for step in range(5):
        values = {"loss": 2.0 - step / 8, "bad": float("nan"), "inf": float("-inf"), "words": "some"}
        take(values | {"nest": {"deep": step}})
    take({"loss": 0.5}, step=100)


if __name__ == "__main__":
    main()
