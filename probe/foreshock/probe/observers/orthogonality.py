"""How far Muon's updates are from orthogonal, over a sample of rows of some of its matrices.

    U = (theta_(t+1) - (1 - lr decay) theta_t) / scale        error = |U U' - I|_F / sqrt k

An update of Muon is a multiple of a semi-orthogonal matrix: along its shorter side, any k of its rows are
orthogonal and of one length. So k rows tell what all would, and `scale` is what makes their mean length 1.

Legend: k sampled rows, c columns (the longer side).
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from foreshock.probe.clock import Clock
from foreshock.probe.faults import Faults
from foreshock.probe.observers.around_step import AroundStep
from foreshock.probe.observers.measures import is_spread
from foreshock.probe.observers.observer import Columns, Places

_MAX_MATRICES: Final = 8
_MAX_ROWS: Final = 64
_LEAST_ROWS: Final = 8
_ENTRIES: Final = 2**17


@dataclass(frozen=True, slots=True)
class _Sample:
    """One matrix, and the rows of its shorter side that are read."""

    parameter: Tensor
    group: dict[str, Any]
    rows_k: Tensor

    def read(self) -> Tensor:
        """The rows [k, c], a copy."""
        matrix = self.parameter.detach()
        matrix = matrix[0] if matrix.dim() == 3 else matrix
        return (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).index_select(0, self.rows_k)


class OrthogonalityObserver:
    """Writes mean and maximum of the error over some matrices, evenly chosen of those that Muon trains."""

    columns: Final[Columns] = {"slow": ("muon_orthogonality_mean", "muon_orthogonality_max")}

    def __init__(self, optimizer: torch.optim.Optimizer, faults: Faults) -> None:
        self._optimizer, self._faults = optimizer, faults
        trained = muon_matrices(optimizer)
        chosen = trained[:: -(-len(trained) // _MAX_MATRICES)] if trained else []
        self._samples = [_Sample(one, group, _rows(one)) for one, group in chosen]

    def start(self, places: Places, clock: Clock) -> None:
        """Hooks the optimizer, before and after its step."""
        self._mean, self._max = places["slow"].unbind()
        self._around = AroundStep(
            self._optimizer,
            lambda: [sample.read() for sample in self._samples],
            self._write,
            clock=clock,
            cadence="slow",
            faults=self._faults,
            told="observing Muon's update",
        )

    def end_step(self) -> None:
        """Forgets the rows of a step that the optimizer has skipped."""
        self._around.forget()

    def close(self) -> None:
        """Removes the hooks."""
        self._around.close()

    def _write(self, before: list[Tensor]) -> None:
        errors = [
            orthogonality_error(sample.read() - _decayed(rows_kc, sample.group))
            for sample, rows_kc in zip(self._samples, before, strict=True)
            if sample.parameter.grad is not None
        ]
        if errors:
            self._mean.copy_(torch.stack(errors).mean())
            self._max.copy_(torch.stack(errors).amax())


def orthogonality_error(update_kc: Tensor) -> Tensor:
    """|U U' - I|_F / sqrt k of rows that are scaled to a mean square length of 1; NaN where nothing moved."""
    gram_kk = update_kc @ update_kc.T
    gram_kk = gram_kk / gram_kk.diagonal().mean()
    identity = torch.eye(len(gram_kk), device=gram_kk.device)
    error: Tensor = torch.linalg.matrix_norm(gram_kk - identity) / len(gram_kk) ** 0.5
    return error


def muon_matrices(optimizer: torch.optim.Optimizer) -> list[tuple[Tensor, dict[str, Any]]]:
    """The float32 matrices, or stacks of them, that an optimizer called Muon trains, whole in this process.

    Of one that trains others as well, by Adam for one, those of groups without `betas`.
    """
    if "muon" not in type(optimizer).__name__.lower():
        return []
    return [
        (one, group)
        for group in optimizer.param_groups
        if "betas" not in group and group.get("use_muon", True)
        for one in group["params"]
        if one.dim() in (2, 3)
        and min(one.shape[-2:]) > 1
        and one.dtype == torch.float32
        and not is_spread(one)
    ]


def _rows(parameter: Tensor) -> Tensor:
    short, long = sorted(parameter.shape[-2:])
    count = min(short, max(_LEAST_ROWS, min(_MAX_ROWS, _ENTRIES // long)))
    return torch.linspace(0, short - 1, count, device=parameter.device).round().long()


def _decayed(rows_kc: Tensor, group: dict[str, Any]) -> Tensor:
    decay: float = group["lr"] * group.get("weight_decay", 0.0)
    return rows_kc * (1 - decay)
