"""The figures of the report. Each function returns a matplotlib Figure; the colours are those of jaxnet.plotting."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxnet.plotting import OKABE_ITO as C
from jaxnet.plotting import draw_metric, draw_runs, new_figure, tidy

Curves = Mapping[str, Any]  # train_loss, train_accuracy, test_loss, test_accuracy: [seeds, epochs]
PAIRS = (
    ("AC", 1, "loss"),
    ("BD", 1, "accuracy"),
    ("EG", 2, "loss"),
    ("FH", 2, "accuracy"),
)  # letters, hidden layers


def layers(hidden: int) -> str:
    return "one hidden layer" if hidden == 1 else "two hidden layers"


def network(hidden: int, width: int, features: int, classes: int) -> Any:
    """The report's Figures 1 and 2: units above, below them what is computed forward, and backward from the loss."""
    widths = [features, *[width] * hidden, classes]
    figure = new_figure(0.62 * (3.0 * hidden + 8.0), 0.62 * 6.45)
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_aspect("equal")
    step, rows = 3.0, np.array([1.55, 1.05, 0.55, -0.55, -1.05, -1.55])
    heights = [rows if n > 3 else np.linspace(0.5, -0.5, n) for n in widths]
    for i in range(len(widths) - 1):
        for a in heights[i]:
            for b in heights[i + 1]:
                axes.plot([i * step, (i + 1) * step], [a, b], color="0.82", linewidth=0.6, zorder=1)
    for i, n in enumerate(widths):
        color = C["sky"] if i == 0 else C["orange"] if i == len(widths) - 1 else C["green"]
        axes.scatter(
            [i * step] * len(heights[i]),
            heights[i],
            s=120,
            color=color,
            edgecolor="0.2",
            linewidth=0.8,
            zorder=2,
        )
        if n > 3:
            axes.text(i * step, 0, "⋮", ha="center", va="center", fontsize=16)
        name = (
            "x"
            if i == 0
            else "logits x̃"
            if i == len(widths) - 1
            else "h"
            if hidden == 1
            else f"h$^{{({i})}}$"
        )
        axes.text(i * step, 2.05, f"{name}: {n}", ha="center", fontsize=11)
    for i in range(1, len(widths)):
        last, k = i == len(widths) - 1, f"$^{{({i})}}$"
        before = "x" if i == 1 else "h" if hidden == 1 else f"h$^{{({i - 1})}}$"
        inner, h = ("l", "h") if hidden == 1 else (f"l{k}", f"h{k}")
        forward = (
            f"x̃ = W{k}{before} + b{k}"
            if last
            else f"{inner} = W{k}{before} + b{k}\n{h} = ReLU({inner})"
        )
        axes.text((i - 0.5) * step, -2.05, forward, ha="center", va="top", fontsize=10)
    end = (len(widths) - 1) * step
    axes.annotate(
        "", (end + 1.3, 0), (end + 0.35, 0), arrowprops={"arrowstyle": "->", "color": "0.2"}
    )
    axes.text(
        end + 1.4, 0, "p = softmax(x̃)\n$L = -\\Sigma_i\\, y_i \\log p_i$", va="center", fontsize=11
    )
    axes.annotate(
        "",
        (0, -3.25),
        (end + 2.6, -3.25),
        arrowprops={"arrowstyle": "->", "color": C["vermillion"], "lw": 1.4},
    )
    axes.text(
        end / 2 + 1.3, -3.35, "backward: p − y, then through each map and ReLU to ∂L/∂W and ∂L/∂b", ha="center",
        va="top", fontsize=10, color=C["vermillion"],
    )  # fmt: skip
    axes.set_xlim(-0.6, end + 4.4)
    axes.set_ylim(-3.95, 2.5)
    return figure


def chance(axes: Any, metric: str, classes: int, test_rows: int | None = None) -> None:
    """Rule what a network that knows nothing has: loss ln(classes), accuracy 1/classes. Test rows on the right."""
    level = math.log(classes) if metric == "loss" else 1 / classes
    axes.axhline(level, color="0.4", linewidth=1.0, linestyle=":", zorder=0)
    if metric == "loss":
        axes.annotate(f"ln {classes}", (1, level), (-2, 2), xycoords=("axes fraction", "data"),
                      textcoords="offset points", ha="right", va="bottom", fontsize=8, color="0.4")  # fmt: skip
    if metric == "accuracy" and test_rows:
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
        chance(axes, metric, classes, test_rows if axes is panels[1] else None)
        axes.set_title(f"{letter}   {label}", loc="left", fontsize=10)
        if metric == "accuracy":
            axes.legend(frameon=False, fontsize=9, loc="center right", bbox_to_anchor=(1, 0.42))
        else:
            axes.legend(frameon=False, fontsize=9)
    panels[0].set_ylim(bottom=0) if metric == "loss" else panels[0].set_ylim(top=1)
    panels[1].set_ylabel("")
    return figure


def hand_and_auto(runs: Mapping[int, Mapping[str, Mapping[str, Curves]]], classes: int) -> Any:
    """Training loss of seed 0. runs: hidden layers -> hand, auto and, perhaps, pytorch -> initialisation -> curves."""
    figure = new_figure(9.2, 3.7)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (hidden, by_gradient) in zip(panels, runs.items(), strict=True):
        for start, pale, dark, dot in (
            ("course", "orange", "vermillion", "black"),
            ("PyTorch", "sky", "blue", "white"),
        ):
            losses = {
                gradient: curves[start]["train_loss"][0] for gradient, curves in by_gradient.items()
            }
            epochs = np.arange(1, len(losses["hand"]) + 1)
            axes.plot(
                epochs,
                losses["auto"],
                color=C[pale],
                linewidth=6,
                alpha=0.55,
                label=f"auto, {start} init.",
            )
            axes.plot(
                epochs, losses["hand"], color=C[dark], linewidth=1.3, label=f"hand, {start} init."
            )
            if "pytorch" in losses:
                dots = {"linestyle": "none", "marker": "o", "markersize": 3.4, "markevery": (9, 10)}
                dots |= {"color": "black", "markerfacecolor": dot, "markeredgewidth": 0.8}
                axes.plot(epochs, losses["pytorch"], label=f"PyTorch itself, {start} init.", **dots)
        chance(axes, "loss", classes)
        axes.set_title(layers(hidden), loc="left", fontsize=10)
        tidy(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("training loss (seed 0)")
    panels[0].legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.92))
    return figure


START_COLORS = (C["vermillion"], C["orange"], C["green"], C["blue"])
START_STYLES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), "-")


def starts(
    runs: Mapping[int, Mapping[str, Curves]], labels: Mapping[str, str], classes: int
) -> Any:
    """Training loss from several initialisations. runs: hidden layers -> initialisation -> curves."""
    figure = new_figure(9.2, 3.7)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (hidden, curves) in zip(panels, runs.items(), strict=True):
        for (start, label), color, style in zip(
            labels.items(), START_COLORS, START_STYLES, strict=True
        ):
            draw_runs(axes, curves[start]["train_loss"], label=label, color=color, linestyle=style)
        chance(axes, "loss", classes)
        axes.set_title(layers(hidden), loc="left", fontsize=10)
        tidy(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("training loss")
    panels[0].legend(frameon=False, fontsize=8.5, loc="upper right", bbox_to_anchor=(1, 0.92))
    return figure


def gradient_norms(
    norms: Mapping[int, Mapping[str, Any]], labels: Mapping[str, str], epochs: Sequence[int]
) -> Any:
    """|dL/dW| of each layer along training. norms: hidden layers -> initialisation -> [seeds, checkpoints, layers]."""
    figure = new_figure(9.2, 5.0)
    grid = figure.subplots(len(norms), len(labels), sharex=True, sharey=True)
    for row, (hidden, by_start) in zip(grid, norms.items(), strict=True):
        for axes, (start, label) in zip(row, labels.items(), strict=True):
            for layer, color in zip(
                range(hidden + 1), (C["blue"], C["orange"], C["green"]), strict=False
            ):
                color = C["green"] if layer == hidden else color
                style = "--" if layer == hidden else "-"
                values = by_start[start][:, :, layer]
                for i, run in enumerate(values):
                    style_of_run = (
                        {"linewidth": 0.6, "alpha": 0.45}
                        if i
                        else {"linewidth": 1.7, "label": f"W$^{{({layer + 1})}}$"}
                    )
                    axes.plot(
                        epochs, np.maximum(run, 1e-12), color=color, linestyle=style, **style_of_run
                    )
            axes.set_yscale("log")
            tidy(axes)
            axes.set_xlabel("epoch" if hidden == max(norms) else "")
            axes.set_title(label if hidden == min(norms) else "", fontsize=9.5)
        row[0].set_ylabel(f"{layers(hidden)}\nnorm of ∂L/∂W")
        row[-1].legend(frameon=False, fontsize=8.5)
    return figure


def wrong_gradients(rules: Sequence[Mapping[str, Any]], classes: int, seeds: int) -> Any:
    """Left the curves; right a row per rule, its final accuracy beside the error of its gradient.

    rules, the right one first: words, curves, accuracy (percent), error (relative), looks_right.
    """
    wrong = rules[1:]
    alike = sum(rule["looks_right"] for rule in wrong)
    look = {  # of a curve: right; wrong, but looks right; wrong, and shows
        None: {"color": C["blue"], "linewidth": 3.2, "zorder": 3},
        True: {"color": C["orange"], "linewidth": 1.1, "zorder": 4},
        False: {"color": C["purple"], "linewidth": 1.1, "linestyle": (0, (4, 1.6)), "zorder": 2},
    }
    labels = {None: "right gradient", True: "wrong, looks right", False: "wrong, and it shows"}
    best_first = sorted(wrong, key=lambda rule: (-rule["looks_right"], -rule["accuracy"]))
    rows = [(rules[0], None), *((rule, rule["looks_right"]) for rule in best_first)]

    figure = new_figure(10, 700 / 120)
    title = f"{alike} of {len(wrong)} wrong gradients train to the right accuracy"
    figure.suptitle(title, x=0.012, ha="left", fontsize=17, fontweight="bold")
    left, table = figure.subplots(1, 2, width_ratios=(1.05, 1))

    for rule, kind in rows:
        accuracy = 100 * np.median(rule["curves"]["test_accuracy"], axis=0)
        left.plot(
            np.arange(1, len(accuracy) + 1), accuracy, label=labels.pop(kind, None), **look[kind]
        )
    tidy(left)
    left.set_ylim(top=100)
    left.set_title(f"test accuracy (%), median of {seeds} seeds", loc="left", fontsize=10.5)
    left.legend(frameon=False, fontsize=10.5, loc="center right", bbox_to_anchor=(1, 0.62))

    for y, (rule, kind) in enumerate(rows):
        error, color = 100 * rule["error"], look[kind]["color"]
        table.plot([1e-6, error], [y, y], color=color, linewidth=1.4)
        table.plot(error, y, "o", color=color, markersize=6)
        beside = {"textcoords": "offset points", "va": "center", "fontsize": 10}
        table.annotate(
            f"{rule['accuracy']:.4g} %",
            (0, y),
            (-8, 0),
            xycoords=("axes fraction", "data"),
            ha="right",
            **beside,
        )
        text = f"{error:.0f} %" if error >= 1 else f"{error:.5f} %"
        table.annotate(text, (error, y), (7, 0), **beside)
    table.set_xscale("log")
    table.set_xlim(1e-6, 1e3 * max(10, *(rule["error"] for rule in rules)))
    table.set_ylim(len(rows) - 0.4, -0.6)
    table.set_xticks([])
    table.minorticks_off()
    table.set_yticks(range(len(rows)), [rule["words"] for rule, _ in rows], fontsize=10)
    table.get_yticklabels()[0].set_fontweight("bold")
    table.tick_params(axis="y", length=0, pad=58)
    table.set_title("accuracy", loc="left", x=-0.02, ha="right", fontsize=10.5)
    table.set_title("error of the gradient (log scale)", loc="right", fontsize=10.5)
    table.spines[["top", "right", "bottom"]].set_visible(False)
    return figure
