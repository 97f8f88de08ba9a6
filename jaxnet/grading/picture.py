"""The picture of the README, with a student's line in it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxnet.grading.training import LOOKS_RIGHT, Curve
from jaxnet.plotting import OKABE_ITO, new_figure, png, tidy

RIGHT = {"color": OKABE_ITO["blue"], "linewidth": 3.2, "zorder": 3}
YOURS = {"color": OKABE_ITO["vermillion"], "linewidth": 2.0, "zorder": 5}
OTHER = {"color": "0.7", "linewidth": 1.0, "zorder": 2}
Row = tuple[str, Curve, Mapping[str, Any]]


def draw(right: Curve, yours: Curve, others: Mapping[str, Curve], what: str) -> bytes:
    """A PNG: on the left how they train, on the right how far off each gradient is.

    what: yours is called; "" where it is right.
    """
    known = sorted(others.items(), key=lambda item: -final(item[1]))
    rows: list[Row] = [
        ("the right gradient", right, RIGHT),
        (what or "yours, right too", yours, YOURS),
    ]
    rows += [(words, curve, OTHER) for words, curve in known]
    alike = sum(final(curve) >= final(right) - LOOKS_RIGHT for _, curve in known)
    figure = new_figure(10, 700 / 120)
    title = f"{alike} of {len(known)} known wrong gradients train to the right accuracy"
    title = title if known else "the right gradient, and yours"
    figure.suptitle(title, x=0.012, ha="left", fontsize=14, fontweight="bold")
    left, table = figure.subplots(1, 2, width_ratios=(1.05, 1))
    draw_curves(left, rows)
    draw_errors(table, rows)
    return png(figure)


def final(curve: Curve) -> float:
    return curve.accuracy[-1] if curve.accuracy else 0.0


def draw_curves(axes: Any, rows: list[Row]) -> None:
    for k, (words, curve, look) in enumerate(rows):
        label = words if k < 2 else "known mistakes" if k == 2 else None
        axes.plot(np.arange(1, len(curve.accuracy) + 1), curve.accuracy, label=label, **look)
    tidy(axes)
    axes.set_ylim(top=100)
    axes.set_title("test accuracy (%), one seed", loc="left", fontsize=10.5)
    axes.legend(frameon=False, fontsize=10.5, loc="lower right")


def draw_errors(axes: Any, rows: list[Row]) -> None:
    """A row for each: its accuracy, and a bar as long as the error of its gradient."""
    beside = {"textcoords": "offset points", "va": "center", "fontsize": 10}
    for y, (_, curve, look) in enumerate(rows):
        error = max(100 * curve.error, 1e-6)
        axes.plot([1e-6, error], [y, y], color=look["color"], linewidth=1.4)
        axes.plot(error, y, "o", color=look["color"], markersize=6)
        at_axis = {"xycoords": ("axes fraction", "data"), "ha": "right"}
        axes.annotate(f"{final(curve):.1f} %", (0, y), (-8, 0), **at_axis, **beside)
        text = f"{error:.0f} %" if error >= 1 else f"{error:.5f} %"
        axes.annotate(text, (error, y), (7, 0), **beside)
    axes.set_xscale("log")
    axes.set_xlim(1e-6, 1e7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xticks([])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [words for words, *_ in rows], fontsize=10)
    axes.get_yticklabels()[1].set_fontweight("bold")
    axes.tick_params(axis="y", length=0, pad=52)
    axes.set_title("error of the gradient (log scale)", loc="right", fontsize=10.5)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
