import subprocess
import sys

import numpy as np

from jaxnet.plotting import OKABE_ITO, draw_runs, new_figure, plot_history, png
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


def test_one_epoch_is_drawn():
    assert png(plot_history(history(1))).startswith(b"\x89PNG")


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
