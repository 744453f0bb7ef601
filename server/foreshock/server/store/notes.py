"""What people write beside a run, each at a step of it: kept as long as the run, never changed."""

import time
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from foreshock.server.errors import TooManyNotesError
from foreshock.server.store.alerts import MAX_AUTHOR, MAX_NOTE, next_number
from foreshock.server.store.engine import reading, writing
from foreshock.server.store.schema import notes, runs

# They are all told at once, and drawn on one line
MAX_NOTES: Final = 1000


class NewNote(BaseModel):
    """What somebody saw or did, and at which step."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"step": 120, "author": "mira", "text": "learning rate halved"}]},
    )

    step: int = Field(ge=0, le=2**53)
    author: str = Field(
        min_length=1, max_length=MAX_AUTHOR, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"
    )
    text: Annotated[str, Field(min_length=1, max_length=MAX_NOTE, pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]


def add_note(engine: sa.Engine, run_id: str, new: NewNote) -> dict[str, Any]:
    """The note as it is kept; raises TooManyNotesError."""
    with writing(engine) as connection:
        # Two who write at once take turns
        connection.execute(sa.select(runs.c.run_id).where(runs.c.run_id == run_id).with_for_update())
        number = next_number(connection, notes, run_id)
        if number > MAX_NOTES:
            raise TooManyNotesError(
                f"run {run_id} has {MAX_NOTES} notes, and no more are kept of a run: what a script says "
                "often belongs into a series or an event of the probe"
            )
        said = {"number": number, "step": new.step, "author": new.author.strip(), "text": new.text}
        kept = said | {"time": time.time()}
        connection.execute(sa.insert(notes).values(run_id=run_id, **kept))
    return kept


def list_notes(engine: sa.Engine, run_id: str) -> list[dict[str, Any]]:
    """All notes of a run, by step."""
    query = sa.select(notes.c.number, notes.c.step, notes.c.author, notes.c.text, notes.c.time)
    query = query.where(notes.c.run_id == run_id).order_by(notes.c.step, notes.c.number)
    with reading(engine) as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
