"""A target names classes or is a number to predict: what is told by looking, and what is asked."""

import numpy as np
import pytest
from test_datasets import raises, write, write_npz

from jaxnet import datasets

CELLS = {
    "text": ["a", "b", "b", "a", "b", "a"],
    "booleans": ["True", "False", "False", "True", "False", "True"],
    "two numbers": ["0", "1", "1", "0", "1", "0"],
    "two fractions": ["0", "0.5", "0.5", "0", "0.5", "0"],
    "fractions": ["0", "0.5", "7", "1", "2", "3"],
    "whole numbers": ["0", "10", "20", "0", "10", "20"],
    "whole, written otherwise": ["0.0", "1e1", "20.0", "0.0", "1e1", "20.0"],
    "numbers and text": ["0", "0.5", "x", "0", "0.5", "x"],
}
REGRESSION = {"fractions"}
ASKED = {"whole numbers", "whole, written otherwise"}


def file_of(folder, cells):
    rows = "".join(f"{row},{cell}\n" for row, cell in enumerate(cells))
    return write(folder / "d.csv", "a,y\n" + rows)


@pytest.mark.parametrize("kind", sorted(CELLS.keys() - ASKED))
def test_what_a_target_says(kind, tmp_path):
    data = datasets.load(file_of(tmp_path, CELLS[kind]), "y")
    assert (data.classes == ()) == (kind in REGRESSION)


@pytest.mark.parametrize("kind", sorted(ASKED))
def test_whole_numbers_may_be_either_and_who_knows_is_asked(kind, tmp_path):
    path = file_of(tmp_path, CELLS[kind])
    with raises("d.csv", "3 different whole numbers, from 0 to 20", "--task regression"):
        datasets.load(path, "y")
    assert len(datasets.load(path, "y", task="classification").classes) == 3
    data = datasets.load(path, "y", task="regression")
    assert data.classes == ()
    x, y = (np.concatenate(pair) for pair in zip(data.train, data.test, strict=True))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, 10 * (x % 3))  # a row keeps its number


@pytest.mark.parametrize(
    ("cells", "phrases"),
    [
        (["0,5", "1,5", "0,5"], ["numbers in a form that is not read, such as '0,5'", "1234.5"]),
        (["12%", "7%", "NA", "12%"], ["such as '12%'", "--task classification"]),
        (["$1.50", "$2"], ["such as '$1.50'"]),
        (["2020-01-01", "2020-01-02", "?"], ["dates or times, such as '2020-01-01'", "a year"]),
    ],
)
def test_numbers_of_another_country_and_dates_are_no_classes_unasked(cells, phrases, tmp_path):
    path = file_of(tmp_path, [f'"{cell}"' for cell in cells * 4])
    with raises("d.csv: the target holds", *phrases, "in Python task=..."):
        datasets.load(path, "y")
    assert set(datasets.load(path, "y", task="classification").classes) == set(cells)


def test_a_table_in_memory_is_asked_too():
    table = {"a": np.arange(6.0), "y": np.array([0, 10, 20, 0, 10, 20])}
    with raises("3 different whole numbers"):
        datasets.from_table(table, "y")
    assert datasets.from_table(table, "y", task="regression").classes == ()
    fractions = {**table, "y": table["y"] + 0.5}
    assert datasets.from_table(fractions, "y").classes == ()


@pytest.mark.parametrize("parts", [1, 2])
def test_of_an_archive_y_holds_labels_unless_it_is_said(parts, tmp_path):
    x, y = np.arange(6.0)[:, None], np.array([0, 10, 20, 0, 10, 20])
    arrays = {"x": x, "y": y}
    if parts == 2:
        arrays = {"x_train": x, "y_train": y, "x_test": x[:3], "y_test": y[:3] + 0.25}
    path = write_npz(tmp_path / "d.npz", **arrays)
    data = datasets.load(path, task="regression")
    assert data.classes == ()
    assert sum(len(y) for _, y in (data.train, data.test)) == (6 if parts == 1 else 9)
    if parts == 1:
        assert len(datasets.load(path).classes) == 3
    else:
        np.testing.assert_array_equal(data.test[1], y[:3, None] + np.float32(0.25))
        with raises("label 0.25 in row 0", "--task regression"):
            datasets.load(path)


@pytest.mark.parametrize(
    ("cells", "phrases"),
    [
        (["1.5", "NA", "3", "", "4"], ["d.csv, line 3", "the target is 'NA', in 2 row(s)"]),
        (["1.5", "x", "3"], ["d.csv, line 3", "the target is 'x', in 1 row(s) no number"]),
        (
            ["1.5", "1e39", "3"],
            ["d.csv, line 3", "'1e39'", "finite numbers, written as 1234.5: drop these rows or"],
        ),
        (["5", "5", "5"], ["d.csv", "the target is 5 in every row"]),
        ([f"{1.7e9 + i}" for i in range(9)], ["d.csv", "varies too little for float32", "offset"]),
    ],
)
def test_what_is_no_number_is_an_error(cells, phrases, tmp_path):
    with raises(*phrases):
        datasets.load(file_of(tmp_path, cells), "y", task="regression")


def test_another_task_is_an_error(tmp_path):
    with raises("load: task is 'ranking'; expected 'classification', 'regression' or None"):
        datasets.load(file_of(tmp_path, CELLS["text"]), "y", task="ranking")


def test_numbers_are_scaled_on_the_training_set_and_held_out_at_random(tmp_path):
    rng = np.random.default_rng(0)
    path = file_of(tmp_path, 1000 + 50 * rng.normal(size=200))
    raw = datasets.load(path, "y")
    data = datasets.standardize(raw)
    mean, scale = data.target_scaling
    np.testing.assert_allclose(mean, raw.train[1].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(scale, raw.train[1].std(axis=0), rtol=1e-5)
    for (_, scaled), (_, y) in ((data.train, raw.train), (data.test, raw.test)):
        np.testing.assert_allclose(scaled * scale + mean, y, rtol=1e-6)
    kept, held = datasets.hold_out(raw.train, 0.25)
    assert (kept[1].shape, held[1].shape) == ((120, 1), (40, 1))
    both = np.concatenate([kept[1], held[1]])
    np.testing.assert_array_equal(np.sort(both, axis=0), np.sort(raw.train[1], axis=0))
