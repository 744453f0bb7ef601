"""How large everything is that the pages are tried with; the suite tries them with next to nothing."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """The long run, the list, and how often each figure is taken."""

    num_layers: int = 50
    num_signals: int = 20
    num_steps: int = 100_000
    num_runs: int = 2000
    num_tries: int = 5
    # A browser compiles a script for good when it sees it for the second time
    num_visits_before_warm: int = 2
    live_seconds: float = 60.0
    num_updates: int = 1000
    # How long a page rests between two things that are done to it
    rest_ms: int = 2000
    # TensorBoard and trackio take a hundred times as long to be filled
    num_peer_steps: int = 1000


SMOKE = Sizes(
    num_layers=3,
    num_signals=8,
    num_steps=60,
    num_runs=5,
    num_tries=1,
    num_visits_before_warm=0,
    live_seconds=0.5,
    num_updates=2,
    rest_ms=0,
    num_peer_steps=5,
)
