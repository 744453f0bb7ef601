"""Every kernel compiled for GPUs that are not here: it compiles, spills nothing, and fits its registers.

In a process where TRITON_INTERPRET is not set; an interpreted kernel has no compiler.
"""

from itertools import product
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton has wheels for Linux only")

from tests.kernels.triton_harness.aot import TARGETS, compile_kernel, read_listing
from tests.kernels.triton_harness.launches import (
    Launch,
    compile_launch,
    gain_scan,
    hyper_connection,
    sinkhorn_backward,
    sinkhorn_forward,
)

from foreshock.kernels.sinkhorn_knopp import triton as sinkhorn_triton

MAX_REGISTERS = 128
# Of seven and eight streams' sums on AMD: one wave fewer at a time
MANY_SUMS = 168


def check(launch: Launch, target: str, max_registers: int = MAX_REGISTERS) -> None:
    built = compile_launch(launch, target)
    found = f"{launch.kernel.__name__}: {built.registers} registers, {built.spilled_bytes} bytes spilled"
    assert built.spilled_bytes == 0, found
    assert built.registers <= max_registers, found


SINKHORN = [sinkhorn_forward, sinkhorn_backward]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("launch", SINKHORN)
def test_sinkhorn_fits_every_target(launch: Any, target: str) -> None:
    check(launch(4), target)


@pytest.mark.parametrize("num_streams", [3, 8])
@pytest.mark.parametrize("launch", SINKHORN)
def test_sinkhorn_fits_at_other_sizes(launch: Any, num_streams: int) -> None:
    check(launch(num_streams), "sm_90")


@pytest.mark.parametrize("target", TARGETS)
def test_the_hyper_connection_fits_every_target(target: str) -> None:
    for launch in hyper_connection(4, target, dtype="bf16").values():
        check(launch, target)


EVERY_LAUNCH = [
    *(launch(4) for launch in SINKHORN),
    gain_scan(4),
    *hyper_connection(4, "sm_90", dtype="fp32").values(),
    *hyper_connection(8, "sm_90", width=64, dtype="bf16").values(),
]


@pytest.mark.parametrize("launch", EVERY_LAUNCH, ids=lambda launch: str(launch.kernel.__name__))
def test_an_argument_of_one_compiles(launch: Launch) -> None:
    """One layer, one token: a launch hands 1 to the compiler as a constant, which is no tensor there."""
    numbers = dict.fromkeys((name for name, kind in launch.signature.items() if kind == "i32"), 1)
    types = {name: kind for name, kind in launch.signature.items() if name not in numbers}
    constants = dict(launch.constants) | numbers
    built = compile_kernel(launch.kernel, "sm_90", types, constants, num_warps=launch.num_warps)
    assert built.spilled_bytes == 0


@pytest.mark.grid
@pytest.mark.timeout(900)
@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("num_streams", range(1, 9))
def test_the_hyper_connection_fits_at_every_size(num_streams: int, target: str, dtype: str) -> None:
    for name, launch in hyper_connection(num_streams, target, dtype=dtype).items():
        has_many_sums = target == "gfx942" and num_streams > 6 and name == "mix_backward_kernel"
        check(launch, target, MANY_SUMS if has_many_sums else MAX_REGISTERS)


@pytest.mark.parametrize("target", TARGETS)
def test_the_gain_scan_fits_every_target(target: str) -> None:
    check(gain_scan(4), target)


@pytest.mark.grid
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("num_streams", [2, 3, 5, 6, 7, 8])
def test_the_gain_scan_fits_at_every_size(num_streams: int, target: str) -> None:
    check(gain_scan(num_streams), target)


@pytest.mark.grid
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("convention", ["paper", "rows_first", "v4"])
@pytest.mark.parametrize("launch", SINKHORN)
def test_sinkhorn_fits_in_all_its_forms(launch: Any, convention: str, target: str) -> None:
    for num_streams, num_iterations in product(range(2, 9), (1, 20, 50)):
        check(launch(num_streams, convention=convention, num_iterations=num_iterations), target)
    for dtype in ("bf16", "fp16"):
        check(launch(4, convention=convention, dtype=dtype), target)


def test_a_matrix_of_four_streams_stays_in_one_thread() -> None:
    """No exchange between threads but the one maximum that chooses the path, and 16-byte accesses."""
    built = compile_launch(sinkhorn_forward(4, statistics=False), "sm_90")
    assert "convert_layout" not in built.intermediate
    assert built.assembly.count("LDG.E.128") == built.assembly.count("STG.E.128") == 4
    cut = sinkhorn_triton.meta(4, "paper")
    assert cut.block == 32 * cut.num_warps


@pytest.mark.parametrize("target", ["sm_90", "gfx942"])
def test_a_real_spill_is_seen(target: str) -> None:
    """Sixteen times the tokens in the same threads: no register file holds their sums."""
    launch = hyper_connection(4, target)["mix_backward_kernel"]
    wide = dict(launch.constants) | {"T": 16 * launch.constants["T"]}
    built = compile_kernel(launch.kernel, target, launch.signature, wide, num_warps=launch.num_warps)
    assert built.spilled_bytes > 0


@pytest.mark.parametrize(
    ("body", "spilled"),
    [
        ("", 0),
        ("\tscratch_store_dwordx4 off, v[0:3], s32\n\tscratch_load_dword v1, off, s32 offset:16\n", 20),
    ],
)
def test_scratch_instructions_count_even_where_the_compiler_reports_no_spill(body: str, spilled: int) -> None:
    """A private segment that nothing touches is no spill."""
    facts = ".private_segment_fixed_size: 16\n.sgpr_spill_count: 0\n.vgpr_spill_count: 0\n.vgpr_count: 64\n"
    assert read_listing(body + facts)[:2] == (64, spilled)
