"""Reads the notifiers' file; what is wrong in it is told with its line, and never with a secret."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from foreshock.server.alerts.notifier_spec import KINDS, NotifierSpec
from foreshock.server.errors import StartError

if TYPE_CHECKING:
    import yaml

MAX_BYTES: Final = 2**20
MAX_TOLD: Final = 3
# What was given is shown of these alone: of the others it may be a secret, or in the place of one
_SHOWN: Final = frozenset(
    "name kind min_severity claims projects rules send_resolved max_per_minute timeout_seconds snapshot "
    "ca_file max_alerts renew_seconds renew_acknowledged".split()
)


class NotifiersFileError(StartError):
    """Raised when the notifiers' file cannot be read, or says what is not allowed."""


def read_notifiers(path: str | Path) -> list[NotifierSpec]:
    """The file's notifiers, in its order; raises NotifiersFileError."""
    root = _compose(Path(path))
    faults: list[tuple[int, str]] = []
    specs: list[NotifierSpec] = []
    for node in _entries(path, root):
        spec, found = _read_entry(node)
        faults += found
        if spec is None:
            continue
        if spec.name in {one.name for one in specs}:
            faults.append((_line(node), f"a second notifier is called {spec.name}: give it another name"))
        specs.append(spec)
    if faults:
        faults.sort()
        told = "; ".join(f"line {line}: {fault}" for line, fault in faults[:MAX_TOLD])
        more = f"; and {len(faults) - MAX_TOLD} more" if len(faults) > MAX_TOLD else ""
        raise NotifiersFileError(f"notifiers file {path}: {told}{more}")
    return specs


def _compose(path: Path) -> "yaml.Node | None":
    # Imported where there is such a file, and only there
    import yaml

    try:
        with path.expanduser().open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotifiersFileError(f"notifiers file {path} cannot be read: {error.strerror}") from None
    if len(text) > MAX_BYTES:
        raise NotifiersFileError(f"notifiers file {path} is larger than {MAX_BYTES} bytes")
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        # Its own words quote the line, in which a secret may be
        told = f"notifiers file {path}: {line}this is not YAML: {error.problem}"
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        told = f"notifiers file {path} is not YAML"
    raise NotifiersFileError(told)


def _entries(path: str | Path, root: "yaml.Node | None") -> "list[yaml.MappingNode]":
    """The nodes of the notifiers; raises NotifiersFileError where the file's shape is another."""
    import yaml

    shape = "it must hold one list: notifiers:, and below it an entry `- name: ..` for each"
    if not isinstance(root, yaml.MappingNode):
        raise NotifiersFileError(f"notifiers file {path}: {shape}")
    for key, value in root.value:
        if key.value != "notifiers" or not isinstance(value, yaml.SequenceNode):
            raise NotifiersFileError(f"notifiers file {path}: line {_line(key)}: {shape}")
    entries = [entry for _, value in root.value for entry in value.value]
    for entry in entries:
        if not isinstance(entry, yaml.MappingNode):
            raise NotifiersFileError(
                f"notifiers file {path}: line {_line(entry)}: a notifier is given as fields: name, kind, .."
            )
    return entries


def _read_entry(node: "yaml.MappingNode") -> tuple[NotifierSpec | None, list[tuple[int, str]]]:
    """One notifier, or what is wrong with it, each with its line."""
    lines, said, faults = _fields(node)
    kind = said.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        given = "it has no kind" if kind is None else f"kind {kind!r} is not known"
        faults.append((lines.get("kind", _line(node)), f"{given}: give one of {', '.join(KINDS)}"))
    if faults or model is None:
        return None, faults
    try:
        return model(**said), []
    except ValidationError as error:
        return None, [_fault(one, model, said, lines, _line(node)) for one in error.errors()]


def _fields(node: "yaml.MappingNode") -> tuple[dict[str, int], dict[str, Any], list[tuple[int, str]]]:
    """Of an entry: the line of each field, its value, and fields that are no names or are there twice."""
    import yaml

    lines: dict[str, int] = {}
    said: dict[str, Any] = {}
    faults: list[tuple[int, str]] = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            faults.append((_line(key), "a field's name must be a word"))
            continue
        if key.value in lines:
            faults.append((_line(key), "a field is given twice: give it once"))
        lines[key.value] = _line(key)
        try:
            said[key.value] = yaml.SafeLoader("").construct_document(value)
        except yaml.YAMLError:
            faults.append((_line(value), "this value is nothing that YAML knows by itself"))
    return lines, said, faults


def _fault(
    error: Any, model: type[NotifierSpec], said: dict[str, Any], lines: dict[str, int], line: int
) -> tuple[int, str]:
    """What pydantic says of one field, with its line; the given value only where it is no secret."""
    name = str(said["name"]) if isinstance(said.get("name"), str) else "without a name"
    place: Sequence[Any] = error["loc"]
    told = str(error["msg"]).removeprefix("Value error, ")
    if not place:
        return line, f"notifier {name[:64]}: {told}"
    field = str(place[0])
    if error["type"] == "extra_forbidden":
        return lines.get(field, line), f"notifier {name[:64]}: {_unknown(field, model)}"
    if error["type"] == "missing":
        return line, f"notifier {name[:64]}: {field} is missing"
    given = f", given {str(said.get(field))[:80]!r}" if field in _SHOWN else ""
    return lines.get(field, line), f"notifier {name[:64]}: {field}: {_uncapitalised(told)}{given}"


def _unknown(field: str, model: type[NotifierSpec]) -> str:
    known = sorted(model.model_fields)
    near = difflib.get_close_matches(field, known, n=1)
    # Whatever stands before a colon may be a part of an address
    shown = field if field.isidentifier() and len(field) <= 32 else "a field"
    meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"{shown} is not a field of its kind: {meant}"


def _uncapitalised(told: str) -> str:
    return told[:1].lower() + told[1:]


def _line(node: "yaml.Node") -> int:
    return int(node.start_mark.line) + 1
