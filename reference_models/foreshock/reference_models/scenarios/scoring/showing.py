"""A recorded run as watchers are shown it: attempts, declaration, logged schedule, blocks of steps."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from foreshock.reference_models.scenarios.record import KEYS, RunRecord
from foreshock.reference_models.scenarios.scoring.watcher import Attempt, ScheduleChange
from foreshock.server.detection.block import Block
from foreshock.server.detection.context import RunContext, columns_of, judged_places

# What the benchmark wrote into the declaration and no run outside it would say: the faults, and a command
# and a name that tell the scenario's
WITHHELD: Final = ("faults", "command", "name", "group", "tags")
SCHEDULE: Final = "schedule"


def attempts(record: RunRecord) -> Iterator[tuple[Attempt, Block]]:
    """Each attempt with its steps [S] and every column that a detector looks at, in order."""
    manifest = record.manifest
    context = shown_context(manifest)
    table = record.table(_wanted(record))
    numbers = table["attempt"].to_numpy()
    for number in np.unique(numbers).tolist():
        changes = tuple(
            ScheduleChange(int(event["step"]), str(event.get("detail", {}).get("what", SCHEDULE)))
            for event in manifest.get("events", [])
            if event["kind"] == SCHEDULE and event["attempt"] == number
        )
        attempt = Attempt(record.run_id, str(manifest.get("family")), context, changes)
        yield attempt, _block(table.filter(numbers == number))


def shown_context(manifest: Mapping[str, Any]) -> RunContext:
    """What the run declared of itself, without what the benchmark planted."""
    declared = manifest.get("declaration") or {}
    config = {key: value for key, value in declared.get("config", {}).items() if key not in WITHHELD}
    return RunContext(declared.get("total_steps"), declared.get("constraint"), config)


def _wanted(record: RunRecord) -> list[str]:
    names = tuple(name for name in record.column_names() if name not in KEYS)
    return [*KEYS, *(names[place] for place in judged_places(names))]


def _block(table: pa.Table) -> Block:
    """Rows in rising steps; a column's null was not measured, its NaN was NaN."""
    names = tuple(name for name in table.column_names if name not in KEYS)
    columns = columns_of(names)
    values = np.full((table.num_rows, len(columns.names)), np.nan)
    present = np.zeros(values.shape, np.bool_)
    for place, name in enumerate(columns.names):
        column = table[name].combine_chunks()
        present[:, place] = column.is_valid().to_numpy(zero_copy_only=False)
        values[:, place] = column.to_numpy(zero_copy_only=False)
    values[~present] = np.nan
    return Block(table["step"].to_numpy(), table["time"].to_numpy(), columns, values, present)
