"""A notebook's result: its table and its figure are written, displayed, and followed by what they show."""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pandas as pd
from IPython.display import Code, Image, Markdown, display

from xraylib import plots
from xraylib.config import load_config
from xraylib.evaluation import findings
from xraylib.files import write_bytes, write_table


def show(
    name: str,
    result: Any,
    draw: Callable | None = None,
    *details: Any,
    by: str | list[str] | None = None,
    view: pd.DataFrame | None = None,
    words: str | None = None,
    write: bool = True,
    **figure: Any,
) -> None:
    """Write a result as results/<name>.csv (tables, if `write`) and its figure as Plot/<name>.png, and display both.

    draw: a function of plots, called as draw(result, axes, *details); without one the table is displayed. by: columns
    that become its index; view: a table to display in its place. words: what the result shows, by default
    findings.<name>(result), if there is such a function. figure: arguments of plots.figure.
    """
    config, empty = load_config(), len(result) == 0
    if write and isinstance(result, pd.DataFrame):
        write_table(result, config.results / f"{name}.csv")
    if draw is None or by is not None or view is not None:
        table = result if view is None else view
        display(table.set_index(by).round(3) if by is not None else table.round(3))
    if draw is not None:
        fig, axes = plots.figure(**figure)
        (plots.no_films if empty else draw)(result, axes, *details)
        plots.name_phantoms(fig, config.kind)
        show_picture(name, plots.png(fig))
    if empty:
        words = "No film has a row here."
    elif words is None and hasattr(findings, name):
        words = getattr(findings, name)(result)
    if words:
        display(Markdown(f"**What this shows.** {words}"))


def show_picture(name: str, png: bytes) -> None:
    """Write a PNG as Plot/<name>.png and display it; its name stays with the output, for its caption."""
    write_bytes(png, load_config().plots / f"{name}.png")
    display(Image(png), metadata={"figure": name})


def show_source(module: ModuleType) -> None:
    """Display the source of a module, for a reader who has the notebook alone."""
    display(Code(inspect.getsource(module), language="python"))
