"""Cuts a recorded run to a small one: fewer steps, no columns that tell the same twice, fewer digits.

    python -m tests.dashboards.cut_run SOURCE OUT --last-step 400

SOURCE and OUT are folders of a manifest.json and a signals.parquet.
"""

import argparse
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

# Other norms of what the amax tells: no rule, and no figure but the map's choice, rests on them
_LEFT_OUT = re.compile(
    r"(log_)?composite_norm_|log_composite_amax_\w+_max|layer_norm_(inf|one)_|layer_norm_two_mean"
    r"|log_gain_per_layer|(process|host)_"
)
_WHOLE = ("attempt", "step", "time", "loss")
_KEPT_BITS = 10
# What of the machine and its libraries a manifest tells, and nothing that a reader or a rule asks for
_OF_THE_MACHINE = re.compile(r"python|platform|host|command|cpu|memory|version_|env_|git_|num_threads")


def cut(source: Path, out: Path, last_step: int) -> None:
    """Writes the steps up to `last_step` of `source` into `out`."""
    manifest = json.loads((source / "manifest.json").read_bytes())
    table = pq.read_table(source / "signals.parquet")
    table = table.filter(pc.less_equal(table["step"], last_step))
    names = [
        name
        for name in table.column_names
        if not _LEFT_OUT.match(name) and table[name].null_count < len(table)
    ]
    columns = {name: table[name] if name in _WHOLE else _rounded(table[name]) for name in names}
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table(columns),
        out / "signals.parquet",
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        use_byte_stream_split=[name for name in names if name not in ("attempt", "step")],
        write_statistics=False,
        store_schema=False,
    )
    told = _manifest(manifest, last_step, len(table), len(names) - 3)
    told["sha256"] = hashlib.sha256((out / "signals.parquet").read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(told, indent=1) + "\n")


def _rounded(column: pa.ChunkedArray) -> pa.Array:
    """To 10 bits after the point, three digits; NaN, infinities and gaps stay what they are."""
    values: NDArray[np.float32] = column.to_numpy().astype(np.float32)
    lost = 23 - _KEPT_BITS
    bits = values.view(np.uint32)
    rounded = ((bits + np.uint32(1 << (lost - 1))) >> np.uint32(lost) << np.uint32(lost)).view(np.float32)
    kept = np.where(np.isfinite(values) & np.isfinite(rounded), rounded, values)
    return pa.array(kept, mask=column.is_null().to_numpy())


def _manifest(told: dict[str, Any], last_step: int, num_rows: int, num_series: int) -> dict[str, Any]:
    declaration = told["declaration"]
    config = {name: value for name, value in declaration["config"].items() if not _OF_THE_MACHINE.match(name)}
    return {
        "format_version": told["format_version"],
        "wire_version": told["wire_version"],
        "sha256": "",
        "num_rows": num_rows,
        "num_series": num_series,
        "num_lost_frames": 0,
        "events": [one for one in told["events"] if one["step"] <= last_step],
        "declaration": {**declaration, "config": config},
        "run_id": told["run_id"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Cuts a recorded run to a small one.")
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--last-step", type=int, required=True)
    given = parser.parse_args()
    cut(given.source, given.out, given.last_step)
