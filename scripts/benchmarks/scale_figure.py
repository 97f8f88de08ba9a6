"""The times of `benchmark.py scale`: a panel for each axis, both scales logarithmic."""

import textwrap
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from matplotlib.ticker import FuncFormatter, NullLocator

from jaxnet.plotting import OKABE_ITO as C
from jaxnet.plotting import new_figure, tidy

# Colour, line style and marker, in the order of the contestants.
LOOKS = (
    (C["blue"], "-", "o"),
    (C["black"], ":", "s"),
    (C["vermillion"], (0, (4, 1.6)), "^"),
    (C["orange"], (0, (5, 1.5, 1, 1.5)), "v"),
)
COLUMNS = 3
LABELS = {"jaxnet": "jaxnet.fit, by hand", "products": "its matrix products alone"}


def draw(
    found: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]],
    labels: Mapping[str, str],
    titles: Mapping[str, str],
    below: str,
) -> Any:
    """A matplotlib Figure.

    found: axis -> value -> contestant -> seconds of an update in each round. labels, titles: of the
    panels, by axis. below: what stands below all of them.
    """
    rows = -(-len(found) // COLUMNS)
    figure = new_figure(3.9 * COLUMNS, 0.5 + 3.3 * rows)
    panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False)
    for axes, (axis, values) in zip(panels.flat, found.items(), strict=False):
        draw_axis(axes, values)
        axes.set_xlabel(labels[axis])
        axes.set_title(titles[axis], loc="left", fontsize=10)
    for axes in panels[:, 0]:
        axes.set_ylabel("time of an update")
    for spare in panels.flat[len(found) :]:
        spare.axis("off")
    lines = panels[0, 0].get_legend_handles_labels()
    panels[-1, -1].legend(*lines, frameon=False, loc="center", fontsize=11)
    figure.supxlabel(textwrap.fill(below, 180), x=0.01, ha="left", fontsize=8, color="0.4")
    return figure


def draw_axis(axes: Any, values: Mapping[int, Mapping[str, Sequence[float]]]) -> None:
    """Medians as a line; the band is from the least to the most."""
    places = list(values)
    for name, (color, style, marker) in zip(values[places[0]], LOOKS, strict=False):
        rounds = [values[place][name] for place in places]
        line = {"color": color, "linestyle": style, "marker": marker, "markersize": 4.5}
        line["zorder"] = 3 if name == "jaxnet" else 2
        axes.plot(places, list(map(median, rounds)), label=LABELS.get(name, name), **line)
        low, high = list(map(min, rounds)), list(map(max, rounds))
        axes.fill_between(places, low, high, color=color, alpha=0.18, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(places, list(map(str, places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(in_words))
    tidy(axes)
    axes.margins(x=0.05)


def in_words(seconds: float, _: Any = None) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size * 0.999:
            return f"{seconds / size:g} {unit}"
    return f"{seconds / 1e-6:g} µs"
