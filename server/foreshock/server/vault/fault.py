"""What is wrong with a database, in one line each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One finding: the run it is in ("" for the database as a whole), what it is, what to do."""

    run_id: str
    what: str
    advice: str = "restore a backup"

    @property
    def sentence(self) -> str:
        """The fault as one line."""
        return f"{self.run_id or 'database'}: {self.what}: {self.advice}"
