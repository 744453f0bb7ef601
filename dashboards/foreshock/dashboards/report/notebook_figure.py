"""A figure that stands alone in a notebook: what pages and files say beside it stands in it."""

from typing import TYPE_CHECKING, Any, Final

from foreshock.dashboards.errors import MissingPlotlyError
from foreshock.dashboards.figures import Figure, Theme, colours, resolve
from foreshock.dashboards.figures.numbers import plain, wrapped

if TYPE_CHECKING:
    import plotly.graph_objects as go

_HEIGHT_PIXELS: Final = 340
_TITLE_PIXELS: Final = 44
_LINE_PIXELS: Final = 16
_LINE_WIDTH: Final = 110


def notebook_figure(figure: Figure, theme: Theme, of_run: str = "") -> "go.Figure":
    """The figure in the theme's colours, with its title, the run's name if one is given, and its reading.

    Raises MissingPlotlyError without plotly.
    """
    try:
        import plotly.graph_objects as go
    except ImportError as error:
        raise MissingPlotlyError("figures need plotly: pip install 'foreshock[server]'") from error
    layout: dict[str, Any] = resolve(figure["layout"], theme)
    meta, chosen = layout["meta"], colours(theme)
    title = f"{plain(of_run)} · {meta['title']}" if of_run else meta["title"]
    reading = wrapped(meta["reading"], _LINE_WIDTH)
    above = _TITLE_PIXELS + _LINE_PIXELS * (reading.count("<br>") + bool(reading))
    layout["margin"] = {**layout["margin"], "t": layout["margin"]["t"] + above}
    layout["height"] = (layout.get("height") or _HEIGHT_PIXELS) + above
    layout["paper_bgcolor"] = layout["plot_bgcolor"] = chosen["surface"]
    layout["title"] = {
        "text": f"<b>{title}</b>",
        "font": {"size": 15, "color": chosen["ink"]},
        "subtitle": {"text": reading, "font": {"size": 12, "color": chosen["ink-2"]}},
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": 1,
        "yref": "container",
        "yanchor": "top",
        "pad": {"t": 10},
    }
    return go.Figure({**resolve(figure, theme), "layout": layout})
