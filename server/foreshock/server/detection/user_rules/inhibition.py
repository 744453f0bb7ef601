"""Which rules hold which others back, and in which order they must judge for that."""

from collections.abc import Mapping, Sequence


def find_cycles(inhibited_by: Mapping[str, Sequence[str]]) -> list[tuple[str, ...]]:
    """Every cycle that a walk meets, its first rule named again at its end; each once."""
    cycles: list[tuple[str, ...]] = []
    done: set[str] = set()
    for start in inhibited_by:
        path: list[str] = []
        # Walked by hand: a chain may be longer than Python's stack
        pending = [(start, False)]
        while pending:
            name, is_left = pending.pop()
            if is_left:
                done.add(path.pop())
            elif name in path:
                cycles.append((*path[path.index(name) :], name))
            elif name not in done:
                path.append(name)
                pending.append((name, True))
                pending += [(other, False) for other in reversed(inhibited_by.get(name, ()))]
    return cycles


def in_order(inhibited_by: Mapping[str, Sequence[str]]) -> list[str]:
    """All names, each behind those that inhibit it, else as they were; there must be no cycle."""
    ordered: dict[str, None] = {}
    for start in inhibited_by:
        pending = [start]
        while pending:
            waits = [
                one for one in inhibited_by.get(pending[-1], ()) if one in inhibited_by and one not in ordered
            ]
            if waits:
                pending.append(waits[0])
            else:
                ordered[pending.pop()] = None
    return list(ordered)
