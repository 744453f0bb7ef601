"""The pages: templates that hold no data, and the modules and styles that fill them.

A page is the same for every run; its modules read the address and fetch what they show from
`/api/v1`. So nothing a run is called can meet the template, and pages can be cached.
"""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, select_autoescape

from foreshock.dashboards.errors import MissingPlotlyError, UnknownPageError
from foreshock.dashboards.pages.files import STATIC_DIR as STATIC_DIR
from foreshock.dashboards.pages.files import addressed

PAGES: Final = (
    "runs",
    "run",
    "layer",
    "compare",
    "verdict",
    "alerts",
    "benchmark",
    "settings",
    "login",
    "missing",
)

_templates = Environment(
    loader=PackageLoader("foreshock.dashboards.pages", "templates"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(page: str, **context: Any) -> str:
    """The HTML of one page of PAGES, "missing" for addresses that there are not.

    Pages need no context; "login" may be given `error`, a sentence, and `next`, the path to go to.
    """
    if page not in PAGES:
        raise UnknownPageError(f"no page is called {page!r}; pages are {', '.join(PAGES)}")
    template = _templates.get_template(f"{page}.html")
    return addressed(template.render(page=page, plotly_version=_plotly_version(), **context))


@cache
def _plotly_version() -> str:
    """The version that the address of plotly.js names, so that browsers may keep the file for good."""
    try:
        return version("plotly")
    except PackageNotFoundError:
        return "0"


def plotly_bundle() -> Path:
    """The plotly.min.js that the installed plotly package carries: no CDN, no copy of ours."""
    try:
        import plotly
    except ImportError as error:
        raise MissingPlotlyError("the pages need plotly: pip install 'foreshock[server]'") from error
    bundle = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    if not bundle.is_file():
        raise MissingPlotlyError(
            f"{bundle} is missing: reinstall plotly (pip install --force-reinstall plotly)"
        )
    return bundle
