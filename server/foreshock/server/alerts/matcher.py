"""What a silence looks for: one name of an alert, held against a value as Alertmanager does."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshock.server.alerts.pattern import read_pattern
from foreshock.server.errors import InvalidError

Operator = Literal["=", "!=", "=~", "!~"]

# In the order in which they are looked for: the longer ones first
OPERATORS: Final[tuple[Operator, ...]] = ("=~", "!~", "!=", "=")
NAMES: Final = ("run", "project", "rule", "severity", "claim", "subject")
MAX_VALUE: Final = 500


class Matcher(BaseModel):
    """`=` and `!=` compare, `=~` and `!~` hold a pattern against the whole value.

    A name that an alert does not have counts as empty.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"name": "rule", "operator": "=", "value": "loss_spike"}]},
    )

    name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="run, project, rule, severity, claim, subject, or a label of the rule.",
    )
    operator: Operator = "="
    value: str = Field(max_length=MAX_VALUE, pattern=r"^[^\x00]*$")

    @field_validator("value")
    @classmethod
    def _no_surrogate(cls, value: str) -> str:
        value.encode()
        return value

    @model_validator(mode="after")
    def _has_a_pattern_that_can_be_read(self) -> "Matcher":
        if self.operator in ("=~", "!~"):
            try:
                read_pattern(self.value)
            except InvalidError as error:
                raise ValueError(error.detail) from error
        return self

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert of these labels is looked for."""
        value = labels.get(self.name, "")[:MAX_VALUE]
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return _fits(self.value, value) == (self.operator == "=~")

    def __str__(self) -> str:
        return f"{self.name}{self.operator}{self.value}"


def read_matcher(text: str) -> dict[str, str]:
    """`rule=loss_spike` or `run=~hc-.*` in its parts; raises InvalidError."""
    end = next((place for place, char in enumerate(text) if char in "=!"), 0)
    operator = next((one for one in OPERATORS if text.startswith(one, end)), None)
    if end == 0 or operator is None:
        raise InvalidError(
            f"{text!r} is no matcher: give a name, one of {', '.join(OPERATORS)}, and a value, such as "
            "rule=loss_spike or run=~hc-.*"
        )
    return {"name": text[:end], "operator": operator, "value": text[end + len(operator) :]}


def labels_of(alert: Mapping[Any, Any]) -> dict[str, str]:
    """The names that matchers may look for, of an alert's row; the alert's own come before its rule's."""
    own = {"run" if name == "run_id" else name: alert[name] for name in ("run_id", *NAMES[1:])}
    return {**(alert["labels"] or {}), **own}


@lru_cache(maxsize=4096)
def _fits(pattern: str, value: str) -> bool:
    return read_pattern(pattern).fits(value)
