"""The `foreshock` command: a thin shell around the subcommands that the rooms offer.

Each room names its own under the entry-point group `foreshock.commands`. Only the one that is asked for
is loaded, so that `serve` needs no torch and `train` no web framework, neither installed nor in memory;
what is missing is told by name.
"""

import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

_EXTRA_OF_MODULE = {
    "torch": ("PyTorch", "models"),
    "pyarrow": ("PyArrow", "scenarios"),
    "fastapi": ("FastAPI", "server"),
    "uvicorn": ("uvicorn", "server"),
    "sqlalchemy": ("SQLAlchemy", "server"),
    "alembic": ("Alembic", "server"),
    "plotly": ("plotly", "server"),
    "scipy": ("SciPy", "server"),
    "yaml": ("PyYAML", "server"),
}


def build_app(wanted: str | None = None) -> typer.Typer:
    """The command with one subcommand, or with all where none of that name is installed."""
    app = typer.Typer(
        name="foreshock",
        help="Training-stability observatory: hears the small shocks before a run tears.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root() -> None:
        """Keeps `foreshock NAME` a group even where only one room is installed."""

    entries = sorted(entry_points(group="foreshock.commands"), key=lambda entry: entry.name)
    chosen = [entry for entry in entries if entry.name == wanted]
    for entry in chosen or entries:
        command = entry.load() if chosen else _load_or_excuse(entry)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(name=entry.name)(command)
    return app


def _load_or_excuse(entry: EntryPoint) -> Any:
    """The subcommand, or one that stands in the list and says what it needs."""
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        needs = _what_it_needs(error)

        def excuse() -> None:
            sys.exit(f"foreshock: {needs}")

        excuse.__doc__ = needs[0].upper() + needs[1:]
        return excuse


def _what_it_needs(error: ModuleNotFoundError) -> str:
    """Raises the error itself where it is no extra of ours that is missing."""
    module = (error.name or "").split(".")[0]
    if module not in _EXTRA_OF_MODULE:
        raise error
    title, extra = _EXTRA_OF_MODULE[module]
    return f"this command needs {title}: pip install 'foreshock[{extra}]'"


def main() -> None:
    """The console script."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        build_app(wanted)()
    except ModuleNotFoundError as error:
        sys.exit(f"foreshock: {_what_it_needs(error)}")
