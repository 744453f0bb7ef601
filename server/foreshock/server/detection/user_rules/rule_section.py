"""One entry of `rules`: read, and everything that is wrong with it noted."""

import re
from collections.abc import Mapping
from typing import Final, cast

from foreshock.server.detection.user_rules.criteria import CRITERIA
from foreshock.server.detection.user_rules.criterion import Criterion
from foreshock.server.detection.user_rules.document import Text
from foreshock.server.detection.user_rules.layers import WORST, Layers, parse_layers
from foreshock.server.detection.user_rules.problems import Place, near
from foreshock.server.detection.user_rules.quantity import Quantity
from foreshock.server.detection.user_rules.schedule import read_schedule
from foreshock.server.detection.user_rules.section import Section
from foreshock.server.detection.user_rules.user_rule import UserRule
from foreshock.wire import CATALOGUE, catalogue_series
from foreshock.wire.messages import Claim, Severity
from foreshock.wire.signal import Reduction

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_LABELS: Final = 20
# What every alert is labelled with anyway
TAKEN_LABELS: Final = frozenset(
    {"alertname", "rule", "run", "project", "attempt", "subject", "severity", "claim", "state", "layer"}
)
SEVERITIES: Final = ("info", "warning", "critical")
CLAIMS: Final = ("rule", "structural")
_PER_LAYER: Final[Mapping[str, bool]] = {series: signal.per_layer for series, signal in catalogue_series()}


def read_rule(section: Section, own_series: Mapping[str, bool]) -> UserRule | None:
    """The rule, None where something of it is wrong. `own_series`: whether each has layers."""
    before = len(section.problems.found)
    name = _read_name(section)
    section.what = f"rule {name}" if name else section.what
    criterion = _read_criterion(section)
    quantity = _read_quantity(section, own_series, criterion)
    severity, claim = section.choice("severity", SEVERITIES), section.choice("claim", CLAIMS)
    hold = section.duration("for", in_seconds=True)
    # `when` has read what of `clear` is its own
    clear_section = section.section("clear", f"clear of {section.what}")
    clear = None if clear_section is None else clear_section.duration("for", in_seconds=True)
    labels = _read_labels(section.section("labels", f"labels of {section.what}"))
    summary, advice = section.word("summary"), section.word("advice")
    schedule = read_schedule(section.section("schedule", f"schedule of {section.what}"))
    inhibited_by = section.words("inhibited_by") or ()
    section.finish()
    if len(section.problems.found) > before or name is None or criterion is None or quantity is None:
        return None
    return UserRule(
        name,
        quantity,
        criterion,
        hold,
        clear,
        cast(Severity, severity or "warning"),
        cast(Claim, claim or "rule"),
        labels,
        summary or "",
        advice or "",
        schedule,
        tuple(dict.fromkeys(one.text for one in inhibited_by)),
    )


def _read_name(section: Section) -> str | None:
    name = section.word("name")
    if name is None:
        if not section.has("name"):
            section.add(section.place, f"{section.what} has no name: give one such as name: router_collapse")
        return None
    if NAME.fullmatch(name) is None:
        section.add(
            section.place,
            f"{name[:80]!r} is no name of a rule: a small letter, then up to 63 small letters, digits and _",
        )
        return None
    return name


def _read_criterion(section: Section) -> Criterion | None:
    when = section.section("when", f"when of {section.what}")
    clear = section.section("clear", f"clear of {section.what}")
    if when is None:
        if not section.has("when"):
            section.add(
                section.place, f"{section.what} has no `when`: say what it waits for: {', '.join(CRITERIA)}"
            )
        return None
    given = [key for key in CRITERIA if when.has(key)]
    criterion = None
    for key in CRITERIA:
        if key in given:
            criterion = CRITERIA[key](key, when, clear)
        else:
            when.node(key)
    when.finish()
    if clear is not None:
        clear.node("for")
        clear.finish()
    if len(given) > 1 or not when.table.entries:
        found = " and ".join(given) or "nothing"
        when.add(when.place, f"{when.what} waits for {found}: it must be one of {', '.join(CRITERIA)}")
    return criterion


def _read_quantity(
    section: Section, own_series: Mapping[str, bool], criterion: Criterion | None
) -> Quantity | None:
    node = section.node("signal")
    chosen, reduce = _read_layers(section), section.choice("reduce", ("max", "min", "mean"))
    if not isinstance(node, Text):
        if node is not None or not section.has("signal"):
            place = section.place if node is None else node.place
            section.add(place, f"{section.what} needs one signal, such as loss or grad_norm / update_rms")
        return None
    parts = [part.strip() for part in re.split(r"\s/\s", node.text)]
    if len(parts) > 2:
        section.add(node.place, f"{node.text[:120]!r} divides twice: a rule looks at one signal or one ratio")
        return None
    known = {**_PER_LAYER, **own_series}
    if not all([_is_known(section, node.place, part, known) for part in parts]):
        return None
    over = parts[1] if len(parts) == 2 else None
    if not any(known[part] for part in parts):
        for key in ("layers", "reduce"):
            if section.has(key):
                section.add(node.place, f"{key} of {section.what} means nothing: {node.text} has no layers")
        return Quantity(parts[0], over)
    layers = WORST if chosen is None else chosen
    return Quantity(parts[0], over, layers, _reduction(section, layers, reduce, criterion))


def _reduction(
    section: Section, layers: Layers, reduce: str | None, criterion: Criterion | None
) -> Reduction:
    """How the layers become one; for a single one, and for the worst, the condition says it."""
    worst: Reduction = "max" if criterion is None else criterion.worst
    if layers.is_worst or layers.is_single:
        if section.has("reduce"):
            section.add(
                section.place,
                f"reduce of {section.what} means nothing, layers being {layers.said()}: take layers: all",
            )
        return worst
    if not section.has("reduce"):
        section.add(
            section.place,
            f"{section.what} looks at several layers: say reduce: max, min or mean, or take layers: worst",
        )
    return cast(Reduction, reduce or worst)


def _read_layers(section: Section) -> Layers | None:
    words = section.words("layers")
    if words is None:
        return None
    try:
        return parse_layers(tuple(word.text.strip() for word in words))
    except ValueError as error:
        place = words[0].place if words else section.place
        section.add(place, f"layers of {section.what}: {error}")
        return None


def _is_known(section: Section, place: Place, series: str, known: Mapping[str, bool]) -> bool:
    if series in known:
        return True
    if series in CATALOGUE:
        which = " or ".join(CATALOGUE[series].series)
        section.add(place, f"{series} is measured as {which}: say which one {section.what} looks at")
    elif (layer := re.fullmatch(r"(.+)\[(\d+)\]", series)) and layer[1] in known:
        section.add(place, f"a layer is chosen by `layers`: say signal: {layer[1]} and layers: {layer[2]}")
    else:
        section.add(
            place,
            f"there is no signal {series[:120]!r}{near(series, known)}: foreshock signals lists them all; a "
            "series that you log yourself is declared under own_series",
        )
    return False


def _read_labels(section: Section | None) -> tuple[tuple[str, str], ...]:
    if section is None:
        return ()
    labels: dict[str, str] = {}
    for key, _ in section.table.entries[: MAX_LABELS + 1]:
        value = section.word(key.text, most=200)
        if LABEL.fullmatch(key.text) is None:
            section.add(
                key.place, f"{key.text[:80]!r} is no name of a label: letters, digits and _, at most 64"
            )
        elif key.text in TAKEN_LABELS:
            section.add(key.place, f"the label {key.text} is set by foreshock itself: take another name")
        elif value is not None:
            labels[key.text] = value
    if len(section.table.entries) > MAX_LABELS:
        section.add(section.place, f"{section.what} has more than {MAX_LABELS} entries")
    section.finish()
    return tuple(labels.items())
