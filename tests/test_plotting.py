import dataclasses
import io
import subprocess
import sys

import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from jaxnet.plotting import OKABE_ITO, draw_metric, draw_runs, new_figure, plot_history, png
from jaxnet.training import History


def history(*shape, **values):
    epochs = shape[-1]
    falling = np.linspace(0.7, 0.1, epochs) * np.ones(shape)
    named = {
        "train_loss": falling,
        "train_accuracy": 1 - falling,
        "test_loss": falling + 0.1,
        "test_accuracy": falling,
    }
    return History(values or named, epochs=epochs, seconds=1.0)


def lines(axes):
    return {
        line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")
    }


def test_a_panel_for_loss_and_one_for_accuracy_with_training_solid_and_test_dashed():
    h = history(5)
    loss, accuracy = plot_history(h, title="a run").axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert loss.get_xlabel() == "epoch"
    assert lines(loss).keys() == {"training", "test"}
    training, test = lines(loss)["training"], lines(loss)["test"]
    np.testing.assert_array_equal(training.get_xdata(), [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(training.get_ydata(), h.train_loss)
    np.testing.assert_array_equal(lines(accuracy)["test"].get_ydata(), h.test_accuracy)
    assert training.get_linestyle() == "-"
    assert test.get_linestyle() == "--"
    assert (training.get_color(), test.get_color()) == (OKABE_ITO["blue"], OKABE_ITO["vermillion"])
    assert accuracy.yaxis.get_major_formatter()(0.5) == "50 %"


def test_of_several_runs_the_first_is_bold_and_the_others_are_thin():
    h = history(3, 4)
    axes = plot_history(h).axes[0]
    assert len(axes.get_lines()) == 6
    bold = lines(axes)["training"]
    np.testing.assert_array_equal(bold.get_ydata(), h.train_loss[0])
    assert all(
        line.get_linewidth() < bold.get_linewidth()
        for line in axes.get_lines()
        if line not in lines(axes).values()
    )


def test_without_test_set_or_accuracy_only_what_is_there_is_drawn():
    figure = plot_history(history(4, train_loss=np.ones(4), train_mean_error=np.zeros(4)))
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "mean error"]
    assert lines(figure.axes[1]).keys() == {"training"}


def drawn(figure):
    """The texts of its ticks are set when a figure is drawn."""
    assert png(figure).startswith(b"\x89PNG")
    return figure.axes


def texts(axis):
    return [text.get_text() for text in axis.get_ticklabels() if is_in_view(text, axis)]


def is_in_view(text, axis):
    low, high = axis.get_view_interval()
    return low <= text.get_position()[axis.axis_name == "y"] <= high


def ink(figure, color):
    """The pixels of about this colour."""
    pixels = matplotlib.image.imread(io.BytesIO(png(figure)))[..., :3]
    return (abs(pixels - matplotlib.colors.to_rgb(color)).max(axis=-1) < 0.02).sum()


def test_one_epoch_shows():
    h = history(1, train_loss=np.ones(1))
    figure = plot_history(h)
    figure.axes[0].get_legend().remove()
    assert ink(figure, OKABE_ITO["blue"]) > 20
    assert texts(drawn(figure)[0].xaxis) == ["1"]


def test_epochs_are_whole_numbers_and_no_tick_of_an_accuracy_comes_twice():
    for epochs in (2, 3, 8, 12):
        for spread in (0.0004, 0.004, 0.013, 0.07, 0.6):
            low = 0.97 - spread
            h = history(epochs, train_accuracy=np.linspace(low, 0.97, epochs))
            (axes,) = drawn(plot_history(h))
            assert all(text.isdigit() for text in texts(axes.xaxis))
            ticks = texts(axes.yaxis)
            assert len(ticks) == len(set(ticks)) > 2
            shown = [float(text.removesuffix(" %")) / 100 for text in ticks]
            in_view = [y for y in axes.get_yticks() if low <= y <= 0.97]
            for y in in_view:
                assert min(abs(y - s) for s in shown) < 1e-7


def test_a_validation_set_has_its_line_and_the_best_epoch_is_marked():
    h = history(4, train_loss=np.ones(4), validation_loss=np.ones(4), test_loss=np.ones(4))
    (axes,) = plot_history(dataclasses.replace(h, best_epoch=3)).axes
    assert list(lines(axes)) == ["training", "validation", "test", "best epoch, 3"]
    assert list(lines(axes)["best epoch, 3"].get_xdata()) == [3, 3]
    looks = {(line.get_color(), line.get_linestyle()) for line in lines(axes).values()}
    assert len(looks) == 4
    (axes,) = plot_history(dataclasses.replace(h, best_epoch=0)).axes
    assert len(lines(axes)) == 3
    values = {name: np.stack([array, array]) for name, array in h.values.items()}
    h = dataclasses.replace(h, values=values, best_epoch=np.array([2, 4]))
    assert "best epoch, 2" in lines(plot_history(h).axes[0])


def test_runs_that_end_early_and_arrays_are_no_trouble():
    loss = np.ones((3, 5))
    loss[1, 2:] = np.nan
    loss[2] = np.nan
    (axes,) = drawn(plot_history(history(5, train_loss=loss, train_matrix=np.ones((3, 5, 2, 2)))))
    assert axes.get_ylabel() == "loss"


def test_what_is_not_there_is_an_error_that_lists_what_is():
    axes = new_figure(3, 2).subplots()
    with pytest.raises(ValueError, match="metric must be one of 'loss', 'accuracy', got 'f1'"):
        draw_metric(axes, history(3).values, "f1")
    for bad in (None, ((), history(3))):
        with pytest.raises(TypeError, match=r"must be a History, got .*; fit returns \(params"):
            plot_history(bad)


def test_png_has_the_size_asked_for_and_the_same_bytes_each_time():
    def draw():
        figure = new_figure(3, 2)
        draw_runs(figure.subplots(), np.arange(4.0), label="run", color="black")
        return png(figure, dpi=100)

    content = draw()
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (300, 200)
    assert draw() == content


def test_matplotlib_is_imported_when_something_is_drawn_and_pyplot_never():
    code = (
        "import sys, numpy as np, jaxnet.plotting as p; from jaxnet import History\n"
        "assert 'matplotlib' not in sys.modules\n"
        "p.png(p.plot_history(History({'train_loss': np.ones(3)}, 3, 1.0)))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
