"""In a process that has this folder on its path, the time of day is what the file FAULTS_CLOCK adds to it."""

import os
import time
from pathlib import Path

_file = Path(os.environ["FAULTS_CLOCK"])
_real = time.time


def _shifted() -> float:
    return _real() + float(_file.read_text())


time.time = _shifted
