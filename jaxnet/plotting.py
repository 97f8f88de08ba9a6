"""Figures of a History.

matplotlib is imported only when something is drawn, and no display is needed.

Everywhere: training solid and blue, validation dotted and green, test dashed and vermillion
(colours of Okabe and Ito, which the colour-blind can tell apart); of several runs each is a thin
line and the first a bold one, never the best. A run that stopped early ends in NaN, of which
nothing is drawn.
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
    "validation": ("validation", OKABE_ITO["green"], (0, (1, 1.2))),
    "test": ("test", OKABE_ITO["vermillion"], (0, (4, 1.6))),
}


def plot_history(history: History, *, title: str | None = None) -> "Figure":
    """Loss and metrics over the epochs, a panel each, all sets in the same panel.

    Where there is a validation set, a line marks the epoch whose parameters were kept. A metric
    that is an array, a confusion matrix say, has no panel.

    history: from `fit`, of one run or of several (a thin line per run and run 0 bold).
    title: above all panels; None for none.
    Returns a matplotlib Figure: figure.savefig(path) writes it, `png(figure)` gives the bytes,
        notebooks show it.
    Raises TypeError where history is no History.

    >>> from jaxnet import plotting
    >>> values = {"train_loss": np.array([0.7, 0.4]), "test_loss": np.array([0.8, 0.5])}
    >>> history = jaxnet.History(values, epochs=2, seconds=1.5)  # as `fit` returns it
    >>> figure = plotting.plot_history(history, title="two epochs")
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['training', 'test']
    """
    if not isinstance(history, History):
        raise TypeError(
            f"plot_history: history must be a History, got {type(history).__name__}; "
            f"fit returns (params, history)"
        )
    least = min(array.ndim for array in history.values.values())  # an axis of epochs, one of runs
    values = {name: array for name, array in history.values.items() if array.ndim == least}
    metrics = _metrics(values)
    figure = new_figure(4.5 * len(metrics), 3.4)
    if title:
        figure.suptitle(title)
    best = () if history.best_epoch is None else np.ravel(history.best_epoch)[:1]  # of run 0
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        draw_metric(axes, values, metric)
        for epoch in filter(None, best):  # 0: no epoch had a loss to choose by
            axes.axvline(epoch, color="0.4", linewidth=0.8, label=f"best epoch, {epoch}")
        axes.legend(frameon=False)
    return figure


def _metrics(values: Mapping[str, NDArray[Any]]) -> list[str]:
    """Without their sets: train_loss and test_loss are one panel."""
    return list(dict.fromkeys(name.partition("_")[2] for name in values))


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
    """Draw train_<metric>, validation_<metric> and test_<metric>, where values has them.

    An accuracy is shown in percent. Adds no legend; the lines are labelled for one.

    axes: of matplotlib.
    values: name -> [epochs] or [runs, epochs], as those of a History.
    metric: "loss", say.
    Raises ValueError, which lists what there is, where values has none of them.

    >>> from jaxnet import plotting
    >>> axes = plotting.new_figure(4, 3).subplots()
    >>> plotting.draw_metric(axes, {"train_loss": np.array([0.7, 0.4])}, "loss")
    >>> axes.get_ylabel()
    'loss'
    """
    if metric not in _metrics(values):
        there = ", ".join(map(repr, _metrics(values)))
        raise ValueError(f"draw_metric: metric must be one of {there}, got {metric!r}")
    for which, (label, color, style) in SETS.items():
        name = f"{which}_{metric}"
        if name in values:
            draw_runs(axes, values[name], color=color, linestyle=style, label=label)
    if metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(_percent())
    axes.set_ylabel("R²" if metric == "r2" else metric.replace("_", " "))
    tidy(axes)


def _percent() -> Any:
    """A formatter of matplotlib's, with as many decimals as tell the ticks apart."""
    from matplotlib.ticker import PercentFormatter

    class Percent(PercentFormatter):
        def set_locs(self, locs: Any) -> None:
            super().set_locs(locs)
            values = 100 * np.asarray(locs, float)
            exact = (d for d in range(6) if np.allclose(values, values.round(d), atol=1e-7))
            self.decimals = next(exact, 6)

    return Percent(1, decimals=0, symbol=" %")


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
    from matplotlib.ticker import MaxNLocator

    runs = np.atleast_2d(values)
    epochs = np.arange(1, runs.shape[1] + 1)
    for run in runs[1:]:
        axes.plot(epochs, run, linewidth=0.6, alpha=0.45, marker=_marker(run), **style)
    axes.plot(epochs, runs[0], linewidth=linewidth, label=label, marker=_marker(runs[0]), **style)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _marker(run: NDArray[Any]) -> str:
    """Through one point goes no line."""
    return "o" if np.isfinite(run).sum() == 1 else ""


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
