"""`explain`: what a probe would see of a model, how it would read it, and what that costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from foreshock.probe.clock import COMPOSITE_EVERY, RARE_EVERY, SLOW_EVERY
from foreshock.probe.faults import Faults
from foreshock.probe.findings import Findings, look_at
from foreshock.probe.instruments import observers_of
from foreshock.probe.observers import MixingObserver, Observer
from foreshock.wire import Cadence

_BYTES_A_VALUE = 4
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of part: how many were found, the first of their names, and how they are read."""

    what: str
    count: int
    names: tuple[str, ...]
    how: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What was found. `values` are numbers a reading, by cadence; printed, it is a page for people."""

    model: str
    parts: tuple[Part, ...]
    values: dict[Cadence, int]

    @property
    def bytes_a_step(self) -> float:
        """Bytes a step before compression, at the usual cadences of a long run."""
        every = {"step": 1, "composite": COMPOSITE_EVERY, "slow": SLOW_EVERY, "rare": RARE_EVERY}
        return sum(_BYTES_A_VALUE * count / every[cadence] for cadence, count in self.values.items())

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        parts = [
            {"what": part.what, "count": part.count, "names": list(part.names), "how": part.how}
            for part in self.parts
        ]
        return {
            "model": self.model,
            "parts": parts,
            "values": dict(self.values),
            "bytes_a_step": self.bytes_a_step,
        }

    def __str__(self) -> str:
        lines = [f"{self.model}: what a probe sees of it"]
        for part in self.parts:
            if part.count:
                names = ", ".join(part.names) + (", .." if part.count > len(part.names) else "")
                lines += [f"  {part.what}: {part.count} ({names})", f"      {part.how}"]
            else:
                lines.append(f"  {part.what}: none")
        lines.append("  beside these, of any model: loss, gradients, clipping, the optimizer's update")
        told = ", ".join(f"{count:,} {cadence}" for cadence, count in self.values.items())
        lines.append(f"  values a reading: {told}; {self.bytes_a_step / 1024:,.1f} KiB a step, uncompressed")
        if not self.parts[0].count:
            lines.append(
                "  mixing matrices can be named, attach(mixing={'blocks.*.hc': '.h_res'}), or handed over, "
                "probe.observe('h_res', H, layer=l)"
            )
        return "\n".join(lines)


def explain(model: nn.Module, mixing: Mapping[str, str] | None = None) -> Explanation:
    """Says what a probe would see of `model`; print it. `mixing` is as `attach` takes it.

    Hooks nothing, calls nothing. Raises AttachError for names that fit nothing.
    """
    findings = look_at(model, mixing)
    faults = Faults()
    observers: list[Observer] = observers_of(findings, num_sampled_tokens=1, faults=faults)
    if findings.mixing:
        observers.append(MixingObserver(findings.mixing, num_sampled_tokens=1, faults=faults))
    values: dict[Cadence, int] = {}
    for observer in observers:
        for cadence, names in observer.columns.items():
            values[cadence] = values.get(cadence, 0) + len(names)
    return Explanation(type(model).__name__, _parts(findings), values)


def _parts(findings: Findings) -> tuple[Part, ...]:
    ends = [named for named in (findings.embedding, findings.head) if named]
    return (
        _part("mixing matrices", [point.name for point in findings.mixing], _ways(findings.mixing)),
        _part(
            "blocks",
            [name for name, _ in findings.blocks],
            "the stream that enters each, where no mixing matrix tells more",
        ),
        _part("routers", [point.name for point in findings.routers], _ways(findings.routers)),
        _part(
            "SwiGLUs",
            [unit.name for unit in findings.gated],
            "what the projections before the gate return",
        ),
        _part(
            "attention",
            [name for name, _ in findings.attention],
            "what scaled_dot_product_attention is given",
        ),
        _part("normalisations", [name for name, _ in findings.norms], "what each is given, and its weights"),
        _part("embedding and head", [name for name, _ in ends], "what they return"),
    )


def _part(what: str, names: list[str], how: str) -> Part:
    return Part(what, len(names), tuple(names[:_SHOWN]), how)


def _ways(points: Any) -> str:
    return "; ".join(dict.fromkeys(point.how for point in points))
