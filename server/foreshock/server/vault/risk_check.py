"""Checks what is stored of a run's forecast: every byte, and that its pieces follow one another."""

from collections.abc import Iterator

import sqlalchemy as sa

from foreshock.server.store.risks import piece_fault
from foreshock.server.store.schema import risks
from foreshock.server.vault.fault import Fault


def check_risks(connection: sa.Connection, run_id: str) -> Iterator[Fault]:
    """The faults in a run's forecast risks, piece by piece."""
    query = sa.select(risks).where(risks.c.run_id == run_id).order_by(risks.c.attempt, risks.c.first_step)
    attempt, last_step = -1, -1
    for row in connection.execute(query.execution_options(yield_per=16)):
        place = f"the piece of risks at step {row.first_step} of attempt {row.attempt}"
        if row.attempt == attempt and row.first_step <= last_step:
            yield Fault(run_id, f"{place} begins before the last one ends, at step {last_step}")
        if (what := piece_fault(row)) is not None:
            yield Fault(run_id, f"{place} {what}")
        attempt, last_step = row.attempt, row.last_step
