"""The options of `foreshock train` for anticipatory routing."""

from dataclasses import dataclass
from typing import Any, cast

from foreshock.reference_models.anticipatory import AnticipatoryRouting, Mode
from foreshock.reference_models.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AnticipatoryOptions:
    """When, how far ahead, how long and after how long a way back, as given. None means: not given."""

    anticipatory: str = "off"
    lag: int | None = None
    period_steps: int | None = None
    rollback_steps: int | None = None

    def config(self) -> AnticipatoryRouting:
        """The settings that follow; raises ConfigError, also for what the mode would not use."""
        given: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("lag", "period_steps", "rollback_steps")
            if getattr(self, name) is not None
        }
        config = AnticipatoryRouting(cast(Mode, self.anticipatory), **given)
        used = {"off": (), "always": ("lag",)}.get(self.anticipatory, tuple(given))
        for name in given:
            if name not in used:
                raise ConfigError(
                    f"{name} is {given[name]}, but anticipatory routing is {self.anticipatory}; "
                    f"give --anticipatory {'always or ' if name == 'lag' else ''}reactive, or leave it out"
                )
        return config
