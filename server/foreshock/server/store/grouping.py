"""By what runs are put into groups: a key of their configuration, their group, their tags."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from foreshock.server.errors import InvalidError
from foreshock.server.store.search import config_value, shown_value

SEED: Final = "seed"
STATE: Final = "state"
GROUP: Final = "group"
TAG: Final = "tag"
MAX_TOLD: Final = 12

Row = Mapping[str, Any] | sa.RowMapping


def group_keys(row: Row, group_by: str) -> list[str]:
    """The groups that a run belongs to: one, none where it lacks the key, or one a tag."""
    match group_by:
        case "group":
            return [row["group_name"]] if row["group_name"] else []
        case "tag":
            return list(dict.fromkeys(row["tags"]))
        case "state":
            return [row["state"]]
    value = config_value(row["config"], group_by)
    return [] if value is None else [shown_value(value)]


def flat_settings(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of a configuration that is no object, by its dotted key."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from flat_settings(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def known_keys(rows: Sequence[Row]) -> list[str]:
    """What these runs can be grouped by: first what differs and not from each run to the next."""
    seen: dict[str, set[str]] = {}
    for row in rows:
        told = dict(flat_settings(row["config"]))
        told |= {GROUP: row["group_name"], TAG: row["tags"] or None}
        for key, value in told.items():
            if value is not None and key.rpartition(".")[2] != SEED:
                seen.setdefault(key, set()).add(shown_value(value))
    return sorted(seen, key=lambda key: (not 1 < len(seen[key]) < max(len(rows), 3), key))


def check_grouping(rows: Sequence[Row], group_by: str) -> None:
    """Raises InvalidError for what cannot tell groups of seeds apart, naming what can."""
    if group_by.rpartition(".")[2] == SEED:
        raise _refused(rows, group_by, "the runs of a group differ in their seed, so it cannot make groups")
    if group_by == STATE:
        raise _refused(rows, group_by, "how a run ended is its outcome, so it cannot make groups")
    values = [config_value(row["config"], group_by) for row in rows]
    if any(isinstance(value, dict) for value in values) and group_by not in (GROUP, TAG):
        inner = sorted(
            {
                f"{group_by}.{key}"
                for value in values
                if isinstance(value, dict)
                for key, _ in flat_settings(value)
            }
        )
        raise _refused(rows, group_by, f"it is an object: choose one of its keys, {_told(inner)}")
    if not any(group_keys(row, group_by) for row in rows):
        near = difflib.get_close_matches(group_by, known_keys(rows), 1)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        raise _refused(rows, group_by, f"none of the {len(rows)} runs has it{hint}")


def _refused(rows: Sequence[Row], group_by: str, why: str) -> InvalidError:
    keys = known_keys(rows)
    return InvalidError(
        f"group_by is {group_by!r}: {why}. These runs can be grouped by {_told(keys) or 'nothing'}", keys=keys
    )


def _told(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - MAX_TOLD} more" if len(keys) > MAX_TOLD else ""
    return ", ".join(keys[:MAX_TOLD]) + more
