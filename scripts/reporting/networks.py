"""The report's Figures 1 and 2: the networks."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from jaxnet.plotting import OKABE_ITO as C
from jaxnet.plotting import new_figure

STEP = 3.0  # from one layer of units to the next
MANY = np.array([1.55, 1.05, 0.55, -0.55, -1.05, -1.55])  # heights of units, some left out between
NAMES_AT, FORWARD_AT, BACKWARD_AT = 2.05, -2.05, -3.05


def network(hidden: int, width: int, features: int, classes: int) -> Any:
    """Units above; below them what is computed forward, and backward from the loss."""
    widths = [features, *[width] * hidden, classes]
    figure = new_figure(0.62 * (3.0 * hidden + 7.6), 0.62 * 6.15)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    draw_units(axes, widths, ["x", *hidden_names(hidden), "logits x̃"])
    for i, text in enumerate(forward_maps(hidden)):
        axes.text((i + 0.5) * STEP, FORWARD_AT, text, ha="center", va="top", fontsize=10)
    end = (hidden + 1) * STEP
    draw_loss(axes, end)
    draw_backward(axes, end)
    axes.set_xlim(-0.6, end + 4.0)
    axes.set_ylim(-3.7, 2.45)
    return figure


def hidden_names(hidden: int) -> list[str]:
    return ["h"] if hidden == 1 else [f"h$^{{({i})}}$" for i in range(1, hidden + 1)]


def forward_maps(hidden: int) -> list[str]:
    """What is computed between a layer of units and the next."""
    names = hidden_names(hidden)
    maps = []
    for i, (before, after) in enumerate(pairwise(["x", *names]), 1):
        inner = after.replace("h", "l")
        maps.append(f"{inner} = {affine(before, i)}\n{after} = ReLU({inner})")
    return [*maps, f"x̃ = {affine(names[-1], hidden + 1)}"]


def affine(before: str, layer: int) -> str:
    return f"W$^{{({layer})}}${before} + b$^{{({layer})}}$"


def draw_units(axes: Any, widths: Sequence[int], names: Sequence[str]) -> None:
    heights = [MANY if width > 3 else np.linspace(0.5, -0.5, width) for width in widths]
    for i, (left, right) in enumerate(pairwise(heights)):
        starts, ends = (points.ravel() for points in np.meshgrid(left, right))
        x = [i * STEP, (i + 1) * STEP]
        axes.plot(x, [starts, ends], color="0.82", linewidth=0.6, zorder=1)
    colors = [C["sky"], *[C["green"]] * (len(widths) - 2), C["orange"]]
    for i, (width, name, color) in enumerate(zip(widths, names, colors, strict=True)):
        look = {"color": color, "edgecolor": "0.2", "linewidth": 0.8, "zorder": 2}
        axes.scatter([i * STEP] * len(heights[i]), heights[i], s=120, **look)
        if width > len(heights[i]):
            axes.text(i * STEP, 0, "⋮", ha="center", va="center", fontsize=16)
        axes.text(i * STEP, NAMES_AT, f"{name}: {width}", ha="center", fontsize=11)


def draw_loss(axes: Any, end: float) -> None:
    arrow = {"arrowstyle": "->", "color": "0.2"}
    axes.annotate("", (end + 1.3, 0), (end + 0.35, 0), arrowprops=arrow)
    text = "p = softmax(x̃)\nL = −Σ$_{\\mathrm{i}}$ y$_{\\mathrm{i}}$ log p$_{\\mathrm{i}}$"
    axes.text(end + 1.4, 0, text, va="center", fontsize=11)


def draw_backward(axes: Any, end: float) -> None:
    arrow = {"arrowstyle": "->", "color": C["vermillion"], "lw": 1.4}
    axes.annotate("", (0, BACKWARD_AT), (end + 2.6, BACKWARD_AT), arrowprops=arrow)
    axes.text(
        end / 2 + 1.3,
        BACKWARD_AT - 0.1,
        "backward: p − y, then through each map and ReLU to ∂L/∂W and ∂L/∂b",
        ha="center",
        va="top",
        fontsize=10,
        color=C["vermillion"],
    )
