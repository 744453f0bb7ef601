"""The provisioned data source, and the selections of runs that expressions are made of."""

from typing import Final, Literal

from grafana_foundation_sdk.models.dashboard import DataSourceRef

# `provisioning/datasources/prometheus.yml` pins it, so that boards find it wherever they are loaded
UID: Final = "foreshock-prometheus"
# The runs that the board's variables choose
CHOSEN: Final = 'project=~"$project", run_id=~"$run"'
RUN: Final = "(run_id, run, project)"


def source() -> DataSourceRef:
    """The reference that every panel, variable and annotation carries."""
    return DataSourceRef(type_val="prometheus", uid=UID)


def worst(
    metric: str,
    *labels: str,
    matching: str = "",
    how: Literal["max", "min"] = "max",
) -> str:
    """The metric of the chosen runs: two collectors on one database both tell of a run."""
    by = ", ".join(("run_id", "run", "project", *labels))
    return f"{how} by ({by}) ({metric}{{{CHOSEN}{matching}}})"
