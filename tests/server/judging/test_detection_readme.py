"""Every rule and every setting of a rule is documented."""

import dataclasses
import re
from pathlib import Path

import foreshock.server.detection.rules as rules_package
from foreshock.server.alerts.groups import RULE as RESTART
from foreshock.server.alerts.heartbeat import RULE as HEARTBEAT
from foreshock.server.detection.rules import default_rules

README = (Path(rules_package.__file__).parent.parent / "README.md").read_text()


def documented_settings():
    """rule -> settings, from the table of settings."""
    found, rule = {}, None
    for line in README.split("## Settings")[1].split("## Choices")[0].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 6 and re.fullmatch(r"`\w+`", cells[2]):
            rule = cells[1].strip("`") or rule
            found.setdefault(rule, {})[cells[2].strip("`")] = cells[3]
    return found


def test_every_rule_is_in_the_table():
    names = [rule.name for rule in default_rules()] + [HEARTBEAT, RESTART]
    table = re.findall(r"^\| `(\w+)` \|", README.split("## Rules")[1].split("## Settings")[0], re.M)
    assert sorted(table) == sorted(names)


def test_every_setting_is_documented_with_its_default():
    documented = documented_settings()
    for rule in default_rules():
        fields = {field.name: getattr(rule, field.name) for field in dataclasses.fields(rule)}
        assert set(documented[rule.name]) == set(fields), rule.name
        for name, value in fields.items():
            if isinstance(value, int | float):
                text = documented[rule.name][name]
                shown = float(text.strip("% ")) / (100 if "%" in text else 1)
                assert shown == value, (rule.name, name)


def test_every_setting_is_told_in_its_rules_docstring():
    for rule in default_rules():
        for field in dataclasses.fields(rule):
            assert f"{field.name}:" in (type(rule).__doc__ or ""), (rule.name, field.name)


def test_every_module_is_in_the_tree():
    folder = Path(rules_package.__file__).parent.parent
    for module in folder.glob("*.py"):
        assert module.stem == "__init__" or f"{module.name} " in README, module.name
