"""Figures of a History.

matplotlib is imported only when something is drawn, and no display is needed.

Everywhere: training solid and blue, test dashed and vermillion (colours of Okabe and Ito, which the
colour-blind can tell apart); of several runs each is a thin line and the first a bold one, never
the best.
"""

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jaxnet.training import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
# Label, colour and line style of each set.
SETS = {
    "train": ("training", OKABE_ITO["blue"], "-"),
    "test": ("test", OKABE_ITO["vermillion"], (0, (4, 1.6))),
}


def plot_history(history: History, *, title: str | None = None) -> "Figure":
    """Loss and metrics over the epochs, a panel each, training and test set in the same panel.

    history: from `fit`, of one run or of several (a thin line per run and run 0 bold).
    title: above all panels; None for none.
    Returns a matplotlib Figure: figure.savefig(path) writes it, `png(figure)` gives the bytes,
        notebooks show it.
    Raises TypeError on what is no History.

    >>> from jaxnet import plotting
    >>> values = {"train_loss": np.array([0.7, 0.4]), "test_loss": np.array([0.8, 0.5])}
    >>> history = jaxnet.History(values, epochs=2, seconds=1.5)  # as `fit` returns it
    >>> figure = plotting.plot_history(history, title="two epochs")
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'test']
    """
    if not isinstance(history, History):
        mend = "; fit returns (params, history), give the second" if _holds_one(history) else ""
        raise TypeError(
            f"plot_history: history must be a History, as fit returns it, "
            f"got {type(history).__name__}{mend}"
        )
    # train_loss and test_loss are one panel; a dict, for a set would lose their order.
    metrics = dict.fromkeys(name.partition("_")[2] for name in history.values)
    figure = new_figure(4.5 * len(metrics), 3.4)
    if title:
        figure.suptitle(title)
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        draw_metric(axes, history.values, metric)
        axes.legend(frameon=False)
    return figure


def _holds_one(pair: object) -> bool:
    return isinstance(pair, tuple) and any(isinstance(member, History) for member in pair)


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure outside pyplot: nothing to close, no window.

    width, height: in inches.
    Returns a matplotlib Figure.

    >>> from jaxnet import plotting
    >>> figure = plotting.new_figure(4, 3)
    >>> print(figure.get_size_inches())
    [4. 3.]
    """
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_metric(axes: "Axes", values: Mapping[str, NDArray[Any]], metric: str) -> None:
    """Draw train_<metric> and test_<metric>, where values has them.

    An accuracy is shown in percent. Adds no legend; the lines are labelled for one.

    axes: of matplotlib.
    values: name -> [epochs] or [runs, epochs], as those of a History.
    metric: "loss", say.
    Raises ValueError where values has neither.

    >>> from jaxnet import plotting
    >>> axes = plotting.new_figure(4, 3).subplots()
    >>> plotting.draw_metric(axes, {"train_loss": np.array([0.7, 0.4])}, "loss")
    >>> axes.get_ylabel()
    'loss'
    """
    from matplotlib.ticker import PercentFormatter

    if not any(f"{which}_{metric}" in values for which in SETS):
        raise ValueError(
            f"draw_metric: metric must be one that values has as train_<metric> or "
            f"test_<metric>, got {metric!r}; values has {', '.join(values) or 'nothing'}"
        )
    for which, (label, color, style) in SETS.items():
        name = f"{which}_{metric}"
        if name in values:
            draw_runs(axes, values[name], color=color, linestyle=style, label=label)
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
    axes.set_ylabel(metric.replace("_", " "))
    tidy(axes)


def draw_runs(
    axes: "Axes", values: NDArray[Any], *, label: str, linewidth: float = 1.8, **style: Any
) -> None:
    """Draw the runs of one metric, the first epoch being 1.

    Run 0 is bold and bears the label; the others are thin lines.

    axes: of matplotlib.
    values: [epochs] or [runs, epochs].
    label: of run 0, in a legend.
    linewidth: of run 0, in points.
    style: of matplotlib's lines, by name.

    >>> from jaxnet import plotting
    >>> axes = plotting.new_figure(4, 3).subplots()
    >>> losses = np.array([[0.7, 0.4], [0.9, 0.6]])  # of two runs
    >>> plotting.draw_runs(axes, losses, label="training", color="black")
    >>> [line.get_linewidth() for line in axes.lines]  # the first run is drawn last, on top
    [0.6, 1.8]
    """
    runs = np.atleast_2d(values)
    epochs = np.arange(1, runs.shape[1] + 1)
    for run in runs[1:]:
        axes.plot(epochs, run, linewidth=0.6, alpha=0.45, **style)
    axes.plot(epochs, runs[0], linewidth=linewidth, label=label, **style)


def tidy(axes: "Axes") -> None:
    """Name the epochs, leave out the frame, rule lightly.

    axes: of matplotlib.

    >>> from jaxnet import plotting
    >>> axes = plotting.new_figure(4, 3).subplots()
    >>> plotting.tidy(axes)
    >>> axes.get_xlabel()
    'epoch'
    """
    axes.set_xlabel("epoch")
    axes.margins(x=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)


def png(figure: "Figure", dpi: int = 120) -> bytes:
    """The figure as the bytes of a PNG file, the same bytes for the same figure.

    figure: of matplotlib.
    dpi: dots per inch.
    Returns bytes.

    >>> from jaxnet import plotting
    >>> plotting.png(plotting.new_figure(4, 3))[1:4]
    b'PNG'
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    return content.getvalue()
