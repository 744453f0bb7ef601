"""What can go wrong in the dashboards."""


class DashboardError(Exception):
    """Raised when a page or figure cannot be made; base of this room's errors."""


class UnknownPageError(DashboardError):
    """Raised when a page is asked for that does not exist."""


class MissingPlotlyError(DashboardError):
    """Raised when the installed plotly package, or the bundle in it, is missing."""


class UnknownFigureError(DashboardError):
    """Raised when a report is asked for a figure that it does not hold."""


class TooManyRunsError(DashboardError):
    """Raised when a report is asked for of no run, or of more than it may hold."""
