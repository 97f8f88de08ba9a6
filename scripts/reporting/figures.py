"""The figures of the report that show curves, in the colours of jaxnet.plotting.

Each function returns a matplotlib Figure. Curves are {train,test}_{loss,accuracy}: [seeds, epochs].
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from common.job import DEPTHS, EPOCHS, WIDTH

from jaxnet.plotting import OKABE_ITO as C
from jaxnet.plotting import draw_metric, draw_runs, new_figure, tidy
from reporting.networks import network
from reporting.results import by_gradient, other_side
from reporting.runs import SEGMENT, START_LABELS, Runs, layers
from reporting.sources import Curves, PyTorch, Source

PAIRS = (  # letters, hidden layers
    ("AC", 1, "loss"),
    ("BD", 1, "accuracy"),
    ("EG", 2, "loss"),
    ("FH", 2, "accuracy"),
)


def draw_all(source: Source, runs: Runs, pytorch: PyTorch | None, seeds: int) -> dict[str, Any]:
    """Every figure, by name."""
    side = other_side(runs, pytorch)
    classes = source.classes
    curves = {hidden: hand.curves for hidden, hand in runs.hand.items()}
    norms = {hidden: hand.norms for hidden, hand in runs.hand.items()}
    found = {
        f"network_{hidden}": network(hidden, WIDTH, len(source.data.features), classes)
        for hidden in DEPTHS
    }
    for letters, hidden, metric in PAIRS:
        sides = [
            (letters[0], "hand gradients, course initialisation", curves[hidden]["course"]),
            (letters[1], side.label, side.curves[hidden]),
        ]
        found[f"{metric}_{letters}"] = pair(sides, metric, classes, source.test_rows)
    found["hand_and_auto"] = hand_and_auto(by_gradient(runs, pytorch), classes)
    found["initialisations"] = starts(curves, START_LABELS, classes)
    found["gradient_norms"] = gradient_norms(norms, START_LABELS, range(0, EPOCHS + 1, SEGMENT))
    found["wrong_gradients"] = wrong_gradients(runs.faults, seeds)
    return found


def chance(axes: Any, metric: str, classes: int) -> None:
    """Rule what a network that knows nothing has: loss ln(classes), accuracy 1/classes."""
    level = math.log(classes) if metric == "loss" else 1 / classes
    axes.axhline(level, color="0.4", linewidth=1.0, linestyle=":", zorder=0)
    if metric == "loss":
        axes.annotate(
            f"ln {classes}",
            (1, level),
            (-2, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color="0.4",
        )


def count_rows(axes: Any, test_rows: int) -> None:
    """The accuracy in rows of the test set, on the right."""
    right = axes.secondary_yaxis(
        "right", functions=(lambda a: a * test_rows, lambda n: n / test_rows)
    )
    right.set_ylabel(f"test rows of {test_rows}", fontsize=9)
    right.spines["right"].set_visible(False)


def pair(
    sides: Sequence[tuple[str, str, Curves]], metric: str, classes: int, test_rows: int
) -> Any:
    """Two panels on shared axes. sides: (letter, label by fact, curves)."""
    figure = new_figure(9.2, 3.5)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (letter, label, curves) in zip(panels, sides, strict=True):
        draw_metric(axes, curves, metric)
        chance(axes, metric, classes)
        axes.set_title(f"{letter}   {label}", loc="left", fontsize=10)
        legend: dict[str, Any] = {"frameon": False, "fontsize": 9}
        if metric == "accuracy":
            legend |= {"loc": "center right", "bbox_to_anchor": (1, 0.42)}
        axes.legend(**legend)
    if metric == "accuracy":
        panels[0].set_ylim(top=1)
        count_rows(panels[1], test_rows)
    else:
        panels[0].set_ylim(bottom=0)
    panels[1].set_ylabel("")
    return figure


def by_depth(runs: Mapping[int, Any], draw: Any, classes: int, columns: int) -> Any:
    """Training losses, a panel for each number of hidden layers. draw(axes, runs of a depth)."""
    figure = new_figure(9.2, 4.1)
    panels = figure.subplots(1, len(runs), sharey=True)
    for axes, (hidden, found) in zip(panels, runs.items(), strict=True):
        draw(axes, found)
        chance(axes, "loss", classes)
        axes.set_title(layers(hidden), loc="left", fontsize=10)
        tidy(axes)
    panels[0].set_ylim(bottom=0)
    # Below both panels, where no curve is.
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        lines, labels, frameon=False, fontsize=8.5, loc="outside lower center", ncols=columns
    )
    return figure


def hand_and_auto(runs: Mapping[int, Mapping[str, Mapping[str, Curves]]], classes: int) -> Any:
    """Training loss of seed 0.

    runs: hidden layers -> hand, auto and, perhaps, pytorch -> initialisation -> curves.
    """

    def draw(axes: Any, by_gradient: Mapping[str, Mapping[str, Curves]]) -> None:
        for start, pale, dark, dot in (
            ("course", "orange", "vermillion", "black"),
            ("PyTorch", "sky", "blue", "white"),
        ):
            losses = {name: by[start]["train_loss"][0] for name, by in by_gradient.items()}
            epochs = np.arange(1, len(losses["hand"]) + 1)
            wide = {"color": C[pale], "linewidth": 6, "alpha": 0.55}
            axes.plot(epochs, losses["auto"], label=f"auto, {start} init.", **wide)
            thin = {"color": C[dark], "linewidth": 1.3}
            axes.plot(epochs, losses["hand"], label=f"hand, {start} init.", **thin)
            if "pytorch" in losses:
                dots = {"linestyle": "none", "marker": "o", "markersize": 3.4, "markevery": (9, 10)}
                dots |= {"color": "black", "markerfacecolor": dot, "markeredgewidth": 0.8}
                axes.plot(epochs, losses["pytorch"], label=f"PyTorch itself, {start} init.", **dots)

    figure = by_depth(runs, draw, classes, columns=2)
    figure.axes[0].set_ylabel("training loss (seed 0)")
    return figure


START_COLORS = (C["vermillion"], C["orange"], C["green"], C["blue"])
START_STYLES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), "-")


def starts(
    runs: Mapping[int, Mapping[str, Curves]], labels: Mapping[str, str], classes: int
) -> Any:
    """Training loss from several starts. runs: hidden layers -> initialisation -> curves."""

    def draw(axes: Any, curves: Mapping[str, Curves]) -> None:
        looks = zip(labels.items(), START_COLORS, START_STYLES, strict=True)
        for (start, label), color, style in looks:
            draw_runs(axes, curves[start]["train_loss"], label=label, color=color, linestyle=style)

    figure = by_depth(runs, draw, classes, columns=len(labels))
    figure.axes[0].set_ylabel("training loss")
    return figure


def gradient_norms(
    norms: Mapping[int, Mapping[str, Any]], labels: Mapping[str, str], epochs: Sequence[int]
) -> Any:
    """|dL/dW| of each layer along training.

    norms: hidden layers -> initialisation -> [seeds, checkpoints, layers].
    """
    figure = new_figure(9.2, 5.0)
    grid = figure.subplots(len(norms), len(labels), sharex=True, sharey=True)
    for row, (hidden, by_start) in zip(grid, norms.items(), strict=True):
        for axes, start in zip(row, labels, strict=True):
            draw_norms(axes, by_start[start], epochs)
            axes.set_yscale("log")
            tidy(axes)
            axes.set_xlabel("")
        row[0].set_ylabel(f"{layers(hidden)}\nnorm of ∂L/∂W")
        row[-1].legend(frameon=False, fontsize=8.5)
    for above, below, label in zip(grid[0], grid[-1], labels.values(), strict=True):
        above.set_title(label, fontsize=9.5)
        below.set_xlabel("epoch")
    return figure


def draw_norms(axes: Any, norms: Any, epochs: Sequence[int]) -> None:
    """Of each layer, the last green and dashed; seed 0 is bold. norms: [seeds, looks, layers]."""
    last = norms.shape[2] - 1
    for layer in range(last + 1):
        color = C["green"] if layer == last else (C["blue"], C["orange"])[layer]
        line = {"color": color, "linestyle": "--" if layer == last else "-"}
        first, *others = np.maximum(norms[:, :, layer], 1e-12)
        for run in others:
            axes.plot(epochs, run, linewidth=0.6, alpha=0.45, **line)
        axes.plot(epochs, first, linewidth=1.7, label=f"W$^{{({layer + 1})}}$", **line)


# ---- wrong gradients

LOOKS = {  # of a curve: right; wrong, but looks right; wrong, and shows
    None: {"color": C["blue"], "linewidth": 3.2, "zorder": 3},
    True: {"color": C["orange"], "linewidth": 1.1, "zorder": 4},
    False: {"color": C["purple"], "linewidth": 1.1, "linestyle": (0, (4, 1.6)), "zorder": 2},
}
LOOK_LABELS = {
    None: "right gradient",
    True: "wrong, looks right",
    False: "wrong, and it shows",
}


def wrong_gradients(rules: Sequence[Mapping[str, Any]], seeds: int) -> Any:
    """Left the curves; right a row per rule, its final accuracy beside the error of its gradient.

    rules, the right one first: words, curves, accuracy (percent), error (relative), looks_right.
    """
    right, *wrong = rules
    alike = sum(rule["looks_right"] for rule in wrong)
    best_first = sorted(wrong, key=lambda rule: (-rule["looks_right"], -rule["accuracy"]))
    rows = [(right, None), *((rule, rule["looks_right"]) for rule in best_first)]

    figure = new_figure(10, 700 / 120)
    title = f"{alike} of {len(wrong)} wrong gradients train to the right accuracy"
    figure.suptitle(title, x=0.012, ha="left", fontsize=17, fontweight="bold")
    left, table = figure.subplots(1, 2, width_ratios=(1.05, 1))
    draw_accuracies(left, rows)
    left.set_title(f"test accuracy (%), median of {seeds} seeds", loc="left", fontsize=10.5)
    draw_errors(table, rows)
    return figure


Rows = Sequence[tuple[Mapping[str, Any], bool | None]]  # a rule, and the key of its look


def draw_accuracies(axes: Any, rows: Rows) -> None:
    labels = dict(LOOK_LABELS)
    for rule, kind in rows:
        accuracy = 100 * np.median(rule["curves"]["test_accuracy"], axis=0)
        epochs = np.arange(1, len(accuracy) + 1)
        axes.plot(epochs, accuracy, label=labels.pop(kind, None), **LOOKS[kind])
    tidy(axes)
    axes.set_ylim(top=100)
    axes.legend(frameon=False, fontsize=10.5, loc="center right", bbox_to_anchor=(1, 0.62))


def draw_errors(axes: Any, rows: Rows) -> None:
    """A table: the rule's words, its accuracy, and a bar as long as the error of its gradient."""
    beside = {"textcoords": "offset points", "va": "center", "fontsize": 10}
    for y, (rule, kind) in enumerate(rows):
        error, color = 100 * rule["error"], LOOKS[kind]["color"]
        axes.plot([1e-6, error], [y, y], color=color, linewidth=1.4)
        axes.plot(error, y, "o", color=color, markersize=6)
        at_axis = {"xycoords": ("axes fraction", "data"), "ha": "right"}
        axes.annotate(f"{rule['accuracy']:.2f} %", (0, y), (-8, 0), **at_axis, **beside)
        text = f"{error:.0f} %" if error >= 1 else f"{error:.5f} %"
        axes.annotate(text, (error, y), (7, 0), **beside)
    axes.set_xscale("log")
    axes.set_xlim(1e-6, 1e3 * max(10, *(rule["error"] for rule, _ in rows)))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xticks([])
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [rule["words"] for rule, _ in rows], fontsize=10)
    axes.get_yticklabels()[0].set_fontweight("bold")
    axes.tick_params(axis="y", length=0, pad=58)
    axes.set_title("accuracy", loc="left", x=-0.02, ha="right", fontsize=10.5)
    axes.set_title("error of the gradient (log scale)", loc="right", fontsize=10.5)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
