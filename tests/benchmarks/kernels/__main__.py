"""`python -m tests.benchmarks.kernels`: compiles all, prints the table, and writes results.json beside this.

Needs liger-kernel and hyper-connections, which nothing else here needs.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.kernels.executed import count_executed, count_static
from tests.benchmarks.kernels.rivals import NUM_ITERATIONS, N, Rival, rivals
from tests.kernels.triton_harness.aot import Compiled, compile_kernel
from tests.kernels.triton_harness.launches import Launch, gain_scan, sinkhorn_backward, sinkhorn_forward

from foreshock.kernels import Convention
from foreshock.kernels.sinkhorn_knopp import triton as sinkhorn_triton

TARGET = "sm_90"


def measure() -> dict[str, Any]:
    """Instructions, registers and bytes of each kernel at n = 4, 20 iterations, float32, sm_90."""
    rows = {name: _rival(rival) for name, rival in rivals().items()}
    for convention in ("paper", "v4"):
        rows[f"foreshock forward, {convention}"] = _forward(convention, statistics=False)
        rows[f"foreshock forward with statistics, {convention}"] = _forward(convention, statistics=True)
        rows[f"foreshock backward, {convention}"] = _backward(convention)
    scan = _compile(gain_scan(N))
    packages = ("triton", "liger-kernel", "hyper-connections")
    return {
        "target": TARGET,
        "num_streams": N,
        "num_iterations": NUM_ITERATIONS,
        "versions": {name: version(name) for name in packages},
        "kernels": rows,
        "gain_scan": {"registers": scan.registers, "spilled_bytes": scan.spilled_bytes},
    }


def _rival(rival: Rival) -> dict[str, Any]:
    built = compile_kernel(rival.kernel, TARGET, rival.signature, rival.constants, num_warps=rival.num_warps)
    # Unrolled throughout, one token a program: every warp executes every instruction once for it.
    per_token = count_executed(built.assembly, []) * rival.num_warps
    return _row(built, per_token, rival.bytes_per_token) | {"remark": rival.remark}


def _forward(convention: Convention, *, statistics: bool) -> dict[str, Any]:
    launch = sinkhorn_forward(N, convention=convention, statistics=statistics)
    extra = 4 * 2 * sinkhorn_triton.NUM_STATISTICS / launch.block if statistics else 0
    return _own(launch, [NUM_ITERATIONS - 1], 128 + extra)


def _backward(convention: Convention) -> dict[str, Any]:
    launch = sinkhorn_backward(N, convention=convention)
    num_steps, length = launch.constants["NUM_STEPS"], launch.constants["SEGMENT"]
    num_segments = (num_steps - 1) // length
    recomputed = length * num_segments * (num_segments - 1) // 2
    return _own(launch, [num_segments * length, recomputed, num_segments], 192)


def _own(launch: Launch, trips: list[int], bytes_per_token: float) -> dict[str, Any]:
    built = _compile(launch)
    executed = count_executed(built.assembly, trips) * launch.num_warps / launch.block
    return _row(built, executed, bytes_per_token) | {"remark": "exp-domain path"}


def _compile(launch: Launch) -> Compiled:
    return compile_kernel(
        launch.kernel, TARGET, launch.signature, launch.constants, num_warps=launch.num_warps
    )


def _row(built: Compiled, per_token: float, bytes_per_token: float) -> dict[str, Any]:
    return {
        "warp_instructions_per_token": round(per_token, 1),
        "bytes_per_token": round(bytes_per_token, 2),
        "registers": built.registers,
        "spilled_bytes": built.spilled_bytes,
        "static_instructions": count_static(built.assembly),
    }


if __name__ == "__main__":
    result = json.dumps(measure(), indent=1)
    Path(__file__).with_name("results.json").write_text(result + "\n")
    print(result)
