"""The colours of every figure and page, by role, once for light and once for dark.

Figures name a colour by its role, `var(--series-1)`, so one figure serves every viewer and can be
cached. The pages resolve the names from style.css; `resolve` does the same in Python for notebooks
and reports. Hues are told apart with red-green and blue-yellow colour blindness; no meaning hangs on
colour alone.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

Theme = Literal["light", "dark"]

_ROLES: Final[Mapping[str, tuple[str, str]]] = {
    "surface": ("#ffffff", "#161a22"),
    "ink": ("#171b24", "#e8ebf1"),
    "ink-2": ("#5a6473", "#9ba5b4"),
    "grid": ("#e6e9ee", "#252b36"),
    "axis": ("#c5ccd6", "#3a4250"),
    "series-1": ("#0067a8", "#5cb6f0"),
    "series-1-band": ("rgba(0, 103, 168, 0.16)", "rgba(92, 182, 240, 0.18)"),
    "series-1-faint": ("rgba(0, 103, 168, 0.38)", "rgba(92, 182, 240, 0.40)"),
    "series-2": ("#d1520f", "#ff9447"),
    "series-2-band": ("rgba(209, 82, 15, 0.16)", "rgba(255, 148, 71, 0.18)"),
    "series-2-faint": ("rgba(209, 82, 15, 0.38)", "rgba(255, 148, 71, 0.40)"),
    "series-3": ("#00805f", "#3fcf9f"),
    "series-3-band": ("rgba(0, 128, 95, 0.16)", "rgba(63, 207, 159, 0.18)"),
    "series-3-faint": ("rgba(0, 128, 95, 0.38)", "rgba(63, 207, 159, 0.40)"),
    "series-4": ("#8a4fb3", "#cf9bf0"),
    "series-4-band": ("rgba(138, 79, 179, 0.16)", "rgba(207, 155, 240, 0.18)"),
    "series-4-faint": ("rgba(138, 79, 179, 0.38)", "rgba(207, 155, 240, 0.40)"),
    "series-5": ("#94720a", "#e6c84a"),
    "series-5-band": ("rgba(148, 114, 10, 0.16)", "rgba(230, 200, 74, 0.18)"),
    "series-5-faint": ("rgba(148, 114, 10, 0.38)", "rgba(230, 200, 74, 0.40)"),
    "series-6": ("#5a6473", "#aeb7c4"),
    "series-6-band": ("rgba(90, 100, 115, 0.16)", "rgba(174, 183, 196, 0.18)"),
    "series-6-faint": ("rgba(90, 100, 115, 0.38)", "rgba(174, 183, 196, 0.40)"),
    "healthy": ("rgba(0, 128, 95, 0.09)", "rgba(63, 207, 159, 0.11)"),
    "healthy-line": ("rgba(0, 128, 95, 0.45)", "rgba(63, 207, 159, 0.45)"),
    "critical": ("#b3201c", "#ff7a70"),
    "critical-wash": ("rgba(179, 32, 28, 0.08)", "rgba(255, 122, 112, 0.12)"),
    "warning": ("#9a5b00", "#f2b53a"),
    "info": ("#2f62b5", "#86b4ff"),
    "broken": ("#4a505b", "#b3bac6"),
    "scale-0": ("#15508f", "#a5dbff"),
    "scale-1": ("#3d84c0", "#5db1ea"),
    "scale-2": ("#8ebddd", "#2f7cb8"),
    "scale-3": ("#cfe2f0", "#1f4a6d"),
    "scale-4": ("#f3f3f0", "#20262f"),
    "scale-5": ("#fbdcc2", "#5b3520"),
    "scale-6": ("#f2a574", "#a8542a"),
    "scale-7": ("#d45d2b", "#ee8a46"),
    "scale-8": ("#8f1d12", "#ffcf9f"),
}

GROUPS: Final = tuple(f"series-{number}" for number in range(1, 7))
DIVERGING: Final[list[tuple[float, str]]] = [(step / 8, f"var(--scale-{step})") for step in range(9)]
SEQUENTIAL: Final[list[tuple[float, str]]] = [(step / 4, f"var(--scale-{step + 4})") for step in range(5)]


def role(name: str) -> str:
    """A colour by its role, as figures write it."""
    if name not in _ROLES:
        raise KeyError(f"no colour has the role {name!r}; roles are {', '.join(_ROLES)}")
    return f"var(--{name})"


def colours(theme: Theme) -> dict[str, str]:
    """Every role with its colour in one theme."""
    return {name: pair[0 if theme == "light" else 1] for name, pair in _ROLES.items()}


def resolve(figure: Any, theme: Theme = "light") -> Any:
    """A copy of the figure with each role replaced by the theme's colour, for use outside the pages."""
    named = {f"var(--{name})": colour for name, colour in colours(theme).items()}

    def walk(node: Any) -> Any:
        if isinstance(node, str):
            return named.get(node, node)
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [walk(value) for value in node]
        return node

    return walk(figure)
