"""The probe: watches a training run from inside and never harms it."""

try:
    import torch as _torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "foreshock.probe needs PyTorch: pip install 'foreshock[probe]'", name="torch"
    ) from error

from foreshock.probe.attach import attach
from foreshock.probe.errors import AttachError, ProbeError, StopTraining
from foreshock.probe.explain import Explanation, explain
from foreshock.probe.observers import Observer
from foreshock.probe.probe import Probe
from foreshock.wire import Alert

__all__ = [
    "Alert",
    "AttachError",
    "Explanation",
    "Observer",
    "Probe",
    "ProbeError",
    "StopTraining",
    "attach",
    "explain",
]
