"""What the collector counts of itself."""

from dataclasses import dataclass
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Instruments:
    """The collector's own counters and histograms, in a registry of the caller's."""

    records: Counter
    points: Counter
    bytes: Counter
    duplicates: Counter
    lost_frames: Counter
    appends: Counter
    append_seconds: Histogram
    commit_seconds: Histogram
    queue_depth: Gauge
    refused_rules: Gauge
    judged_at: Gauge

    @classmethod
    def create(cls, registry: CollectorRegistry) -> Self:
        """Registers every instrument; a registry takes them once."""
        return cls(
            records=Counter("foreshock_records", "Records stored.", registry=registry),
            points=Counter("foreshock_points", "Points stored: steps times series.", registry=registry),
            bytes=Counter("foreshock_stored_bytes", "Bytes of stored records.", registry=registry),
            duplicates=Counter(
                "foreshock_duplicates", "Records that arrived again and were skipped.", registry=registry
            ),
            lost_frames=Counter(
                "foreshock_lost_frames",
                "Frames that probes had to drop, told by tombstones.",
                registry=registry,
            ),
            appends=Counter(
                "foreshock_appends", "Append requests by what became of them.", ["result"], registry=registry
            ),
            append_seconds=Histogram(
                "foreshock_append_duration_seconds",
                "Time from a whole body to its acknowledgement.",
                buckets=_SECONDS,
                registry=registry,
            ),
            commit_seconds=Histogram(
                "foreshock_commit_duration_seconds",
                "Time of one commit, which many appends share.",
                buckets=_SECONDS,
                registry=registry,
            ),
            queue_depth=Gauge(
                "foreshock_waiting_appends", "Appends that wait for a commit.", registry=registry
            ),
            refused_rules=Gauge(
                "foreshock_rules_problems",
                "Problems of the rules file as it is now; while there are any, older rules judge.",
                registry=registry,
            ),
            judged_at=Gauge(
                "foreshock_judge_turn_timestamp_seconds",
                "When the judge last came to the end of all runs; 0 before the first time.",
                registry=registry,
            ),
        )
