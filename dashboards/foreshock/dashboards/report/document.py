"""A report as HTML: one file that opens from disk, asks no host for anything, and runs no script but its own.

The content security policy names each script by its hash. What comes from runs is text in the HTML, and
JSON in a data block, in which nothing can end the block.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from foreshock.dashboards.figures import colours
from foreshock.dashboards.figures.marks import severity_symbol
from foreshock.dashboards.names import printable
from foreshock.dashboards.pages import STATIC_DIR, plotly_bundle
from foreshock.dashboards.report.report import Report

_HERE: Final = Path(__file__).parent
_MAX_SETTINGS: Final = 400
_MAX_ALERTS: Final = 300
_SHAPES: Final = {"triangle-down": "▼", "diamond": "◆", "circle": "●"}

_templates = Environment(
    loader=PackageLoader("foreshock.dashboards.report", "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_html(report: Report) -> Iterator[str]:
    """The file, piece by piece.

    Raises MissingPlotlyError before the first piece where plotly.js cannot be found.
    """
    plotly, code = _script(_plotly()), _script(_code())
    context = {
        "policy": _policy(plotly, code),
        "style": Markup(_style()),
        "plotly": plotly,
        "code": code,
        "figures": _data(_figures(report)),
    }
    return _templates.get_template("report.html").generate(**context, **_words(report))


def words_html(report: Report) -> str:
    """The words alone, without figures or scripts: what a notebook shows."""
    # Notebooks have styles of their own for all that they show, light ones and dark ones
    style = Markup((_HERE / "notebook.css").read_text(encoding="utf-8"))
    return _templates.get_template("words.html").render(style=style, **_words(report))


def _words(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "made": f"{datetime.fromtimestamp(report.made_at, UTC):%Y-%m-%d %H:%M} UTC",
        "version": version("foreshock"),
        "printable": printable,
        "shape": lambda severity: _SHAPES[severity_symbol(severity)],
        "max_settings": _MAX_SETTINGS,
        "max_alerts": _MAX_ALERTS,
    }


def _figures(report: Report) -> dict[str, Any]:
    """Every figure by the id of its place."""
    found: dict[str, Any] = {f"compare-{name}": one for name, one in report.comparison.items()}
    for place, run in enumerate(report.runs):
        found |= {f"run-{place}-{name}": one for name, one in run.drawn.items()}
    return found


def _data(value: Mapping[str, Any]) -> Markup:
    """JSON in which no `<` is left, so that no name can end the block that it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _script(text: str) -> Markup:
    return Markup(text.replace("</script", "<\\/script"))


def _policy(*scripts: str) -> str:
    hashes = (base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts)
    named = " ".join(f"'sha256-{one}'" for one in hashes)
    # plotly.js writes styles of its own
    return (
        f"default-src 'none'; script-src {named}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _plotly() -> str:
    return plotly_bundle().read_text(encoding="utf-8")


@cache
def _code() -> str:
    """What draws the figures: the pages' own way with colours, then the report's."""
    theme = (STATIC_DIR / "theme.js").read_text(encoding="utf-8").replace("export function", "function")
    return f"(() => {{\n{theme}\n{(_HERE / 'report.js').read_text(encoding='utf-8')}}})();"


@cache
def _style() -> str:
    light, dark = _roles("light"), _roles("dark")
    css = (_HERE / "report.css").read_text(encoding="utf-8")
    chosen = '@media (prefers-color-scheme: dark) { :root:not([data-theme="light"]) '
    return f":root {{ {light} }}\n{chosen}{{ {dark} }} }}\n{css}"


def _roles(theme: Any) -> str:
    return " ".join(f"--{name}: {colour};" for name, colour in colours(theme).items())
