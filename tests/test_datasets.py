import csv
import hashlib
import importlib.util
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxnet.datasets import (
    Column,
    Dataset,
    Scaling,
    batches,
    hold_out,
    load,
    read_features,
    standardize,
)

ROOT = Path(__file__).parents[1]
DATA = ROOT / "data"
TWIN = DATA / "course_twin"

CSV = "a,b,kind\n1,2,u\n3,4,v\n5,6,u\n7,8,v\n"
TEXT = {
    "XTrain.txt": "1\t2\n3\t4\n",
    "yTrain.txt": "0\n1\n",
    "XTest.txt": "5\t6\n",
    "yTest.txt": "1\n",
}
X, Y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])


def write(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_folder(folder, **changes):
    """The small folder of TEXT, with files replaced (XTrain="...") or left out (XTrain=None)."""
    folder.mkdir(exist_ok=True)
    for name, text in TEXT.items():
        if (text := changes.get(name.removesuffix(".txt"), text)) is not None:
            write(folder / name, text)
    return folder


def write_npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def raises(*phrases, error=ValueError):
    """Expect an error whose text has all phrases in this order."""
    return pytest.raises(error, match="(?s)" + ".*".join(map(re.escape, phrases)))


# ---- what load reads ----


def test_folder_keeps_rows_order_and_label_texts(tmp_path):
    data = load(write_folder(tmp_path / "set", yTrain="7\n-2\n", yTest="7\n"))
    np.testing.assert_array_equal(data.train[0], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(data.test[0], [[5, 6]])
    assert data.classes == ("-2", "7")
    assert data.train[1].tolist() == [1, 0]
    assert data.test[1].tolist() == [1]
    assert data.features == ("x1", "x2")
    assert data.scaling is None


def test_folder_reads_what_savetxt_writes(tmp_path):
    folder = write_folder(tmp_path / "set")
    np.savetxt(folder / "XTrain.txt", [[0.1, -2e-7], [3e5, 4]])
    np.savetxt(folder / "yTrain.txt", [1, 0])  # written as 1.000000000000000000e+00
    data = load(folder)
    np.testing.assert_array_equal(data.train[0], np.float32([[0.1, -2e-7], [3e5, 4]]))
    assert data.train[1].tolist() == [1, 0]


def test_dtypes_in_every_layout(tmp_path):
    paths = [(write_folder(tmp_path / "set"), None), (write(tmp_path / "d.csv", CSV), "kind")]
    paths += [
        (write_npz(tmp_path / "d.npz", x=X.astype(dtype), y=Y), None) for dtype in ("f2", "i8")
    ]
    for path, target in paths:
        for x, y in ((data := load(path, target)).train, data.test):
            assert (x.dtype, y.dtype) == (np.float32, np.int32)
            assert x.shape == (len(y), len(data.features))


def test_csv_takes_the_target_out_of_any_place(tmp_path):
    path = write(tmp_path / "d.csv", "a,kind,b\n1,v,2\n3,u,4\n5,v,6\n7,u,8\n")
    data = load(path, "kind", test_fraction=0.5)
    assert (data.features, data.classes) == (("a", "b"), ("u", "v"))
    x, y = (np.concatenate(both) for both in zip(data.train, data.test, strict=True))
    np.testing.assert_array_equal(x[np.argsort(x[:, 0])], [[1, 2], [3, 4], [5, 6], [7, 8]])
    assert y[np.argsort(x[:, 0])].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + CSV,
        CSV.replace("\n", "\r\n"),
        CSV + "\n",
        CSV + " \n\r\n",
        CSV.rstrip("\n"),
        CSV.replace("a,", '"a",').replace("u\n", '"u"\n'),
        CSV.replace(",", " , "),
        CSV.replace("a,b", 'a, "b"'),
        CSV.replace("1,", "1e0,"),
    ],
    ids=[
        "bom",
        "crlf",
        "blank end",
        "blank ends",
        "no end of line",
        "quotes",
        "spaces",
        "space and quotes",
        "exponent",
    ],
)
def test_csv_dialects_read_the_same(tmp_path, text):
    plain, other = (
        load(write(tmp_path / name, t), "kind") for name, t in (("a.csv", CSV), ("b.csv", text))
    )
    assert (
        (plain.features, plain.classes)
        == (other.features, other.classes)
        == (("a", "b"), ("u", "v"))
    )
    for expected, got in zip((*plain.train, *plain.test), (*other.train, *other.test), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_csv_quoted_names_may_hold_commas_quotes_and_lines(tmp_path):
    path = write(tmp_path / "d.csv", '"a, ""wide""","kind\nof"\n1,"x, y"\n2,z\n3,"x, y"\n4,z\n')
    data = load(path, "kind\nof")
    assert (data.features, data.classes) == (('a, "wide"',), ("x, y", "z"))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ("10 9 10 9", ("9", "10")),
        ("b 10 b 10", ("10", "b")),
        ("-1 0.5 -1 0.5", ("-1", "0.5")),
        ("B a B a", ("B", "a")),
    ],
)
def test_classes_sort_by_value_if_all_are_numbers(tmp_path, labels, classes):
    rows = "".join(f"{row},{label}\n" for row, label in enumerate(labels.split()))
    assert load(write(tmp_path / "d.csv", "a,kind\n" + rows), "kind").classes == classes


def test_npz_in_two_parts(tmp_path):
    path = write_npz(
        tmp_path / "d.npz",
        **{"x_train": X, "y_train": Y, "x_test": X[:1], "y_test": Y[1:2]},
        **{"features": ["p", "q"], "classes": ["no", "yes"]},
    )
    data = load(path)
    np.testing.assert_array_equal(data.train[0], X)
    np.testing.assert_array_equal(data.test[0], X[:1])
    assert (data.train[1].tolist(), data.test[1].tolist()) == ([0, 1, 0, 1], [1])
    assert (data.features, data.classes) == (("p", "q"), ("no", "yes"))


def test_npz_classes_give_the_order_of_labels(tmp_path):
    # Sorting would swap them: an integer is a position in classes, a text is looked up there.
    for y in (Y, np.array(["yes", "no", "yes", "no"])):
        data = load(write_npz(tmp_path / "d.npz", x=X, y=y, classes=["yes", "no"]))
        assert data.classes == ("yes", "no")
        x, y = (np.concatenate(both) for both in zip(data.train, data.test, strict=True))
        assert y[np.argsort(x[:, 0])].tolist() == [0, 1, 0, 1]


def test_npz_labels_of_any_plain_kind(tmp_path):
    for y, classes in (
        (Y * 3.0, ("0", "3")),
        (Y == 1, ("0", "1")),
        (np.array(["b", "a"] * 2), ("a", "b")),
    ):
        assert load(write_npz(tmp_path / "d.npz", x=X, y=y)).classes == classes


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    x=st.tuples(st.integers(4, 12), st.integers(1, 4)).flatmap(
        lambda shape: hnp.arrays(np.float32, shape, elements=finite)
    ),
    name=st.text(st.characters(codec="utf-8"), max_size=5),
    seed=st.integers(0, 9),
)
def test_csv_round_trip(tmp_path_factory, x, name, seed):
    names = [f"<{name}>", f"[{name}]"]  # within marks, as outer white space is not kept
    labels = np.arange(len(x)) % 2
    path = tmp_path_factory.mktemp("round") / "d.csv"
    header = [f"f{column}" for column in range(x.shape[1])]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "kind"])
        writer.writerows(
            [*map(repr, row.tolist()), names[label]] for row, label in zip(x, labels, strict=True)
        )
    data = load(path, "kind", seed=seed)
    got = [
        (row.tobytes(), data.classes[label])
        for pair in (data.train, data.test)
        for row, label in zip(*pair, strict=True)
    ]
    assert sorted(got) == sorted(
        (row.tobytes(), names[label]) for row, label in zip(x, labels, strict=True)
    )
    np.testing.assert_array_equal(read_features(path, header[::-1]), x[:, ::-1])


# ---- the split ----


@given(
    counts=st.lists(st.integers(2, 30), min_size=2, max_size=4),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_split_is_a_stratified_partition(tmp_path_factory, counts, fraction, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    path = write_npz(tmp_path_factory.mktemp("split") / "d.npz", x=np.arange(len(y))[:, None], y=y)
    data = load(path, test_fraction=fraction, seed=seed)
    rows = np.concatenate([data.train[0], data.test[0]])[:, 0].astype(int)
    assert sorted(rows) == list(range(len(y)))
    # A row keeps its label.
    np.testing.assert_array_equal(np.concatenate([data.train[1], data.test[1]]), y[rows])
    for label, count in enumerate(counts):
        share = np.count_nonzero(data.test[1] == label)
        assert 1 <= share <= count - 1
        assert share in (1, count - 1) or abs(share - fraction * count) <= 0.5


def test_split_repeats_by_seed_and_shuffles(tmp_path):
    path = write_npz(tmp_path / "d.npz", x=np.arange(200.0)[:, None], y=np.repeat([0, 1], 100))
    first, again, other = (load(path, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train[0], again.train[0])
    np.testing.assert_array_equal(first.test[0], again.test[0])
    assert set(first.test[0][:, 0]) != set(other.test[0][:, 0])
    for x, y in (first.train, first.test):  # a file sorted by class must not come back sorted
        assert 0.3 < np.mean(np.diff(x[:, 0]) > 0) < 0.7
        assert np.count_nonzero(np.diff(y)) > len(y) / 4


# ---- what load refuses ----


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("", ["d.csv", "the file is empty"]),
        ("\n \n", ["d.csv", "the file is empty"]),
        ("a,b,kind\n", ["d.csv", "a header without rows"]),
        ("kind\nu\nv\nu\nv\n", ["d.csv", "no column beside the target, 'kind'"]),
        ("a,b,c\n1,2,3\n", ["d.csv", "target is 'kind'", "one of 'a', 'b', 'c'"]),
        ("a,a,kind\n1,2,u\n", ["d.csv", "more than one column is called 'a'", "rename"]),
        (
            ",b,kind\n9,2,u\n5,2,v\n",
            ["d.csv", "column 1 has no name", "drop it if it counts the rows"],
        ),
        ("a;b;kind\n1,5;2;u\n", ["d.csv", "'a'", "('1,5' in line 2)", "write them as 1234.5"]),
        ("a,b;kind\n1,5;u\n", ["d.csv", "commas and semicolons divide every line alike"]),
        (CSV + "1,2\n", ["d.csv, line 6", "2 cells", "expected 3"]),
        (CSV + "1,2,u,3\n", ["d.csv, line 6", "4 cells", "expected 3"]),
        ("a,b,kind\n\n1,2,u\n", ["d.csv, line 2", "0 cells", "expected 3"]),
        ("\na,b,kind\n1,2,u\n", ["d.csv, line 1", "0 cells", "names of columns"]),
        (
            CSV.replace("3", "three"),
            ["d.csv", "'a'", "no number in 1 of 4 cells ('three' in line 3)", "-1.5e3"],
        ),
        (CSV.replace("3", "3_0"), ["d.csv", "'a'", "no number in 1 of 4 cells ('3_0' in line 3)"]),
        (CSV.replace("6", ""), ["d.csv", "'b'", "no value in 1 of 4 cells (line 4)", "drop the r"]),
        (CSV.replace("6", "?"), ["d.csv", "'b'", "no value in 1 of 4 cells (line 4)", "impute"]),
        (CSV.replace("6", "NaN"), ["d.csv", "'b'", "no value in 1 of 4 cells (line 4)"]),
        (
            CSV.replace("6", "-inf"),
            ["d.csv", "'b'", "no finite float32 in 1 of 4", "-inf in line 4"],
        ),
        (CSV.replace("6", "1e39"), ["d.csv", "'b'", "no finite float32 in 1", "1e+39 in line 4"]),
        (
            CSV.replace("u", ""),
            ["d.csv", "no value in 2 of 4 cells (line 2, line 4)", "drop", "fill"],
        ),
        (CSV.replace("3,4,v", "3,4,nan"), ["d.csv", "no value in 1 of 4 cells (line 3)"]),
        (CSV.replace("v", "u"), ["d.csv", "'u' is the only class", "at least two"]),
        (CSV + "9,9,w\n", ["d.csv", "class 'w' has 1 row(s)", "expected 2"]),
        (CSV.replace("u", "1").replace("v", "1.0"), ["d.csv", "'1' and '1.0' are the same number"]),
        (CSV + '1,2,"u\n', ["d.csv, line 6", "check the quotes"]),
        (CSV.encode("utf-16"), ["d.csv", "not UTF-8", "save it as UTF-8"]),
        (
            "t,kind\n" + "".join(f"{1.7e9 + i},{i % 2}\n" for i in range(9)),
            ["d.csv", "'t'", "float32", "offset"],
        ),
    ],
)
def test_csv_faults(tmp_path, text, phrases):
    with raises(*phrases):
        load(write(tmp_path / "d.csv", text), "kind")


def test_csv_needs_a_target(tmp_path):
    with raises("target is None", "the column with the labels", "'a', 'b', 'kind'"):
        load(write(tmp_path / "d.csv", CSV))


def test_long_lists_of_columns_show_both_ends(tmp_path):
    header = ",".join(f"c{column}" for column in range(99))
    with raises("'c0'", "'c19', ..., 'c79'", "'c98'"):
        load(write(tmp_path / "d.csv", header + "\n" + ",".join("1" * 99) + "\n"), "kind")


@pytest.mark.parametrize(
    ("changes", "phrases"),
    [
        ({"XTrain": ""}, ["XTrain.txt", "the file is empty"]),
        ({"XTrain": "1 2\n3 4 5\n"}, ["XTrain.txt, line 2", "3 cells", "expected 2"]),
        ({"XTrain": "1 2\n\n3 4\n"}, ["XTrain.txt, line 2", "0 cells", "expected 2"]),
        ({"XTrain": "1 2\n3 x\n"}, ["XTrain.txt, line 2, column 'x2'", "'x' is no number"]),
        ({"XTest": "1 nan\n"}, ["XTest.txt, line 1, column 'x2'", "'nan' is no finite float32"]),
        ({"XTrain": "1 2\n"}, ["XTrain.txt", "1 rows and 2 labels", "one label per row"]),
        ({"yTest": "1\n1\n"}, ["XTest.txt", "1 rows and 2 labels", "one label per row"]),
        ({"XTest": "1 2 3\n"}, ["XTest.txt", "3 columns", "expected 2", "'x1', 'x2'"]),
        ({"yTrain": "0 1\n1 0\n"}, ["yTrain.txt", "2 columns", "a label per line"]),
        ({"yTrain": "0\n0.5\n"}, ["yTrain.txt", "label 0.5 in line 2", "expected an integer"]),
        ({"yTrain": "0\nb\n"}, ["yTrain.txt, line 2, column 'y1'", "'b' is no number"]),
        ({"yTrain": "1\n1\n"}, ["yTrain.txt", "'1' is the only class"]),
        ({"yTest": "2\n"}, ["yTest.txt", "label '2' in line 1", "training class, '0', '1'"]),
    ],
)
def test_folder_faults(tmp_path, changes, phrases):
    with raises(*phrases):
        load(write_folder(tmp_path / "set", **changes))


@pytest.mark.parametrize(
    ("arrays", "phrases"),
    [
        ({"x": X}, ["d.npz", "arrays 'x'", "expected x and y", "'x_train'"]),
        ({"x": X, "y": Y, "z": Y}, ["d.npz", "arrays 'x', 'y', 'z'", "expected x and y"]),
        ({"x": X, "y": Y, "x_train": X}, ["d.npz", "arrays", "expected x and y"]),
        ({"x": X[0], "y": Y}, ["d.npz, x", "shape (2,)", "[rows, features]"]),
        ({"x": X, "y": np.eye(2)[Y]}, ["d.npz, y", "shape (4, 2)", "one label per row"]),
        ({"x": X.astype(str), "y": Y}, ["d.npz, x", "<U32", "real numbers"]),
        ({"x": X * 1j, "y": Y}, ["d.npz, x", "complex128", "real numbers"]),
        ({"x": X.astype(object), "y": Y}, ["d.npz", "numpy.savez", "numbers or text"]),
        (
            {"x": np.where(X == 5, np.nan, X), "y": Y},
            ["d.npz, x", "'x2'", "no value in 1 of 4 cells (row 2)"],
        ),
        (
            {"x": np.where(X == 5, 1e39, X), "y": Y},
            ["d.npz, x", "'x2'", "finite float32", "1e+39 in row 2"],
        ),
        ({"x": X[:0], "y": Y[:0]}, ["d.npz, x", "shape (0, 2)", "at least one row"]),
        ({"x": X[:3], "y": Y}, ["d.npz, x", "3 rows and 4 labels"]),
        ({"x": X, "y": Y + 0.5}, ["d.npz, y", "label 0.5 in row 0", "an integer"]),
        ({"x": X, "y": Y * np.nan}, ["d.npz, y", "no value in 4 of 4 cells", "drop", "fill"]),
        ({"x": X, "y": Y.astype(complex)}, ["d.npz, y", "complex128", "integers or text"]),
        ({"x": X, "y": Y + 1, "classes": ["a", "b"]}, ["d.npz, y", "label 2 in row 1", "0 to 1"]),
        ({"x": X, "y": Y - 1, "classes": ["a", "b"]}, ["d.npz, y", "label -1 in row 0", "0 to 1"]),
        (
            {"x": X, "y": Y, "classes": ["a", "b", "c"]},
            ["d.npz, y", "class 'c' has 0 row(s)", "expected 2"],
        ),
        ({"x": X, "y": Y, "classes": ["a", "a"]}, ["d.npz, classes", "all different"]),
        ({"x": X, "y": Y, "classes": [1, 2]}, ["d.npz, classes", "int64", "names as text"]),
        ({"x": X, "y": Y, "features": ["a"]}, ["d.npz, x", "2 columns", "expected 1", "'a'"]),
        (
            {"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y},
            ["d.npz, x_test", "1 columns", "expected 2"],
        ),
        (
            {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1},
            ["d.npz, y_test", "label '2'", "'0', '1'"],
        ),
        (
            {"x_train": X, "y_train": Y * 0, "x_test": X, "y_test": Y},
            ["d.npz, y_train", "'0' is the only class"],
        ),
    ],
)
def test_npz_faults(tmp_path, arrays, phrases):
    with raises(*phrases):
        load(write_npz(tmp_path / "d.npz", **arrays))


def test_npz_that_is_none(tmp_path):
    with raises("d.npz", "not an .npz archive", "numpy.savez"):
        load(write(tmp_path / "d.npz", "x,y"))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 20, math.nan])
def test_test_fraction_is_a_fraction(tmp_path, fraction):
    with raises(f"test_fraction is {fraction}", "between 0 and 1"):
        load(write(tmp_path / "d.csv", CSV), "kind", test_fraction=fraction)


def test_target_belongs_to_csv_only(tmp_path):
    for path in (write_folder(tmp_path / "set"), write_npz(tmp_path / "d.npz", x=X, y=Y)):
        with raises("target is 'kind'", path.name, "leave it out"):
            load(path, "kind")


def test_unknown_layouts_and_missing_files(tmp_path):
    with raises("d.cvs: unknown layout", ".csv, .tsv", ".npz or a folder of text files"):
        load(write(tmp_path / "d.cvs", CSV))
    for path in (tmp_path / "none.csv", tmp_path / "none.npz", tmp_path / "none"):
        with raises(path.name, "no such file or folder", error=FileNotFoundError):
            load(path)
    with raises("none.csv", "no such file or folder", error=FileNotFoundError):
        read_features(tmp_path / "none.csv", ["a"])
    with raises(
        "no 'yTrain.txt', 'XTest.txt'",
        "expected a folder with 'XTrain.txt'",
        error=FileNotFoundError,
    ):
        load(write_folder(tmp_path / "set", yTrain=None, XTest=None))


# ---- scaling ----


def dataset(x_train, x_test):
    x_train, x_test = np.float32(x_train), np.float32(x_test)
    y_train, y_test = (np.arange(len(x), dtype=np.int32) % 2 for x in (x_train, x_test))
    return Dataset(
        (x_train, y_train), (x_test, y_test), ("a", "b", "c")[: x_train.shape[1]], ("u", "v")
    )


def test_standardize_is_the_recorded_map_in_float32():
    rng = np.random.default_rng(0)
    raw = dataset(rng.normal([5, -300, 0], [0.1, 40, 1], (50, 3)), rng.normal(9, 2, (10, 3)))
    data = standardize(raw)
    assert isinstance(data.scaling, Scaling)
    for (x, y), (x_raw, y_raw) in ((data.train, raw.train), (data.test, raw.test)):
        np.testing.assert_array_equal(x, (x_raw - data.scaling.mean) / data.scaling.scale)
        np.testing.assert_array_equal(y, y_raw)
        assert x.dtype == data.scaling.mean.dtype == data.scaling.scale.dtype == np.float32
    np.testing.assert_allclose(data.train[0].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(data.train[0].std(axis=0), 1, rtol=1e-5)
    assert abs(data.test[0].mean()) > 1  # the test set was not brought to 0 by itself
    assert (data.features, data.classes) == (raw.features, raw.classes)
    assert raw.scaling is None


def test_standardize_does_not_look_at_the_test_set():
    x = np.random.default_rng(0).normal(size=(20, 2))
    first, second = (standardize(dataset(x, test)).scaling for test in (x[:5], 1e6 + x[:3]))
    np.testing.assert_array_equal(first, second)


@given(constant=finite.filter(lambda value: abs(value) < 1e30), rows=st.integers(1, 30))
def test_standardize_leaves_a_constant_feature_finite(constant, rows):
    # In float32 its standard deviation is often not 0 but a rounding error, which must not become
    # the scale.
    data = standardize(dataset(np.full((rows, 1), constant), np.full((2, 1), constant)))
    np.testing.assert_array_equal(data.scaling, [[np.float32(constant)], [1]])
    for x, _ in (data.train, data.test):
        np.testing.assert_array_equal(x, 0)


def test_standardize_once():
    data = standardize(dataset(X, X))
    with raises("standardized already", "as load returned it"):
        standardize(data)


# ---- rows to predict ----


def test_read_features_by_name(tmp_path):
    path = write(tmp_path / "new.csv", "id,b,note,a\nk1,2,hello,1\nk2,4,,3\n")
    x = read_features(path, ("a", "b"))
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])
    assert x.dtype == np.float32


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("a,c\n1,2\n", ["new.csv", "no column 'b'", "the header has 'a', 'c'"]),
        ("a,b\n1,\n", ["new.csv", "'b': no value in 1 of 1 cells (line 2)", "fill"]),
        ("a,b\n1,inf\n", ["new.csv", "'b': inf in line 2 is no finite float32"]),
        ("a,b\n", ["new.csv", "a header without rows"]),
        ("a,b,a\n1,2,3\n", ["new.csv", "more than one column is called 'a'"]),
    ],
)
def test_read_features_faults(tmp_path, text, phrases):
    with raises(*phrases):
        read_features(write(tmp_path / "new.csv", text), ("a", "b"))


def test_read_features_keeps_a_row_per_line(tmp_path):
    # With one column an empty cell is an empty line: dropped, all predictions below would move up a
    # row.
    path = write(tmp_path / "new.csv", "a\n1\n\n3\n")
    with raises("new.csv, line 3", "0 cells"):
        read_features(path, ["a"])


# ---- batches ----


@given(rows=st.integers(0, 40), size=st.integers(1, 50), shuffled=st.booleans())
def test_batches_cover_every_row_once(rows, size, shuffled):
    x, y = np.arange(rows)[:, None] * [1, 10], np.arange(rows) * 100
    parts = list(batches(x, y, size, np.random.default_rng(0) if shuffled else None))
    assert [len(x) for x, _ in parts] == [size] * (rows // size) + [rows % size] * (rows % size > 0)
    order = [row for _, y in parts for row in y // 100]
    assert sorted(order) == list(range(rows))
    assert shuffled or order == list(range(rows))
    for x_batch, y_batch in parts:
        np.testing.assert_array_equal(x_batch * [10, 1] * 10, np.stack([y_batch, y_batch], axis=1))


def test_batches_shuffle_anew_with_the_same_generator():
    rng = np.random.default_rng(0)
    first, second = (
        np.concatenate([y for _, y in batches(X, np.arange(4), 3, rng)]).tolist() for _ in range(2)
    )
    assert first != second


def test_batches_complain_at_the_call():
    for size in (0, -1, 2.5, "2"):
        with raises(f"batch_size is {size}", "at least 1"):
            batches(X, Y, size)
    with raises("x has 4 rows and y has 3", "one label per row"):
        batches(X, Y[:3], 2)


# ---- the files under data/ ----


def stated_hashes():
    return dict(
        re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|$", (DATA / "README.md").read_text(), re.M)
    )


def test_data_files_are_those_of_the_readme():
    hashes = {
        name: hashlib.sha256((DATA / name).read_bytes()).hexdigest() for name in stated_hashes()
    }
    assert hashes == stated_hashes()
    files = {path.relative_to(DATA).as_posix() for path in DATA.rglob("*") if path.is_file()}
    assert files == {*hashes, "README.md"}


@pytest.fixture(scope="module")
def make_data():
    spec = importlib.util.spec_from_file_location("make_data", ROOT / "scripts" / "make_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_make_data_makes_them_again(make_data, tmp_path, capsys):
    pytest.importorskip("sklearn", reason="the breast cancer data come from scikit-learn")
    (tmp_path / "torch_histories.npz").write_bytes((DATA / "torch_histories.npz").read_bytes())
    make_data.main(["--out", str(tmp_path)])
    for path in DATA.rglob("*"):
        assert (
            path.is_dir() or path.read_bytes() == (tmp_path / path.relative_to(DATA)).read_bytes()
        ), path
    assert {path.name for path in tmp_path.rglob("*")} == {path.name for path in DATA.rglob("*")}
    assert "Bayes accuracy of the twin: 0.9609" in capsys.readouterr().out


def test_twin_has_its_distribution():
    # Within 4 standard errors of the stated parameters; both sets together, 350 rows per class.
    data = load(TWIN)
    assert (data.train[0].shape, data.test[0].shape) == ((500, 10), (200, 10))
    assert (np.bincount(data.train[1]).tolist(), np.bincount(data.test[1]).tolist()) == (
        [250, 250],
        [100, 100],
    )
    x, y = (np.concatenate(both) for both in zip(data.train, data.test, strict=True))
    stated = [((0.94, 1.01), (0.99, 1.03), -0.80), ((-0.93, -0.91), (0.91, 0.90), 0.74)]
    for label, (means, deviations, correlation) in enumerate(stated):
        rows = x[y == label]
        means, deviations = np.array([*means, *[0] * 8]), np.array([*deviations, *[1] * 8])
        correlations = np.eye(10)
        correlations[0, 1] = correlations[1, 0] = correlation
        n = len(rows)
        assert np.all(abs(rows.mean(axis=0) - means) < 4 * deviations / n**0.5)
        assert np.all(abs(rows.std(axis=0) - deviations) < 4 * deviations / (2 * n) ** 0.5)
        assert np.all(
            abs(np.corrcoef(rows.T) - correlations) <= 4 * (1 - correlations**2) / n**0.5 + 1e-6
        )


def test_bayes_accuracy(make_data):
    # Against a case with a closed form: equal, round Gaussians two deviations apart are told apart
    # Φ(1) of the time.
    known = make_data.Gaussian((0, 0), (1, 1), 0), make_data.Gaussian((2, 0), (1, 1), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(make_data, "TWIN", known)
        assert make_data.bayes_accuracy() == pytest.approx(0.8413447, abs=1e-5)
    exact, (drawn, error) = make_data.bayes_accuracy(), make_data.bayes_accuracy_by_draws(400_000)
    assert abs(exact - drawn) < 4 * error
    assert f"**{exact:.4f}**" in (DATA / "README.md").read_text()


def test_breast_cancer_is_scikit_learns():
    source = pytest.importorskip(
        "sklearn.datasets", reason="compares with scikit-learn's copy"
    ).load_breast_cancer()
    with (DATA / "breast_cancer.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == [*source.feature_names, "diagnosis"]
    np.testing.assert_array_equal(np.array([row[:-1] for row in rows], float), source.data)
    assert [row[-1] for row in rows] == source.target_names[source.target].tolist()


def test_breast_cancer_loads():
    data = load(DATA / "breast_cancer.csv", "diagnosis")
    assert (len(data.features), data.features[0], data.classes) == (
        30,
        "mean radius",
        ("benign", "malignant"),
    )
    assert np.bincount(np.concatenate([data.train[1], data.test[1]])).tolist() == [357, 212]
    assert np.bincount(data.test[1]).tolist() == [71, 42]
    assert np.isfinite(standardize(data).test[0]).all()


def test_torch_histories_are_whole_and_of_this_twin():
    with np.load(DATA / "torch_histories.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    meta = json.loads(str(arrays.pop("meta")))
    assert {
        f"course_twin/{name}": value for name, value in meta["sha256"].items()
    }.items() <= stated_hashes().items()
    expected = {
        f"{depth}_{initialisation}_{part}_{kind}"
        for depth in (1, 2)
        for initialisation in ("pytorch", "course")
        for part in ("train", "test")
        for kind in ("loss", "accuracy")
    }
    assert arrays.keys() == expected
    for name, values in arrays.items():
        assert (values.shape, values.dtype) == ((8, 200), np.float32), name
        assert np.isfinite(values).all()
        assert len(np.unique(values[:, 50])) > 1 or "accuracy" in name  # the seeds differ


def test_torch_histories_are_made_again():
    pytest.importorskip("torch", reason="trains in PyTorch")
    from common.pytorch import torch_history

    made = torch_history((100,), "course", 3, load(TWIN))
    with np.load(DATA / "torch_histories.npz", allow_pickle=False) as archive:
        for name, values in made.items():
            recorded = archive[f"1_course_{name}"][3]
            np.testing.assert_allclose(values, recorded, atol=1e-3)


# ---- a part of the training set held out


def test_a_part_is_held_out_of_each_class_and_no_row_is_lost():
    y = np.repeat(np.int32([0, 1, 2]), [40, 10, 2])
    x = np.arange(52, dtype=np.float32)[:, None]
    first, second = hold_out((x, y), 0.25, seed=3)
    assert np.bincount(second[1]).tolist() == [10, 2, 1]
    assert sorted([*first[0][:, 0], *second[0][:, 0]]) == list(range(52))
    for part in (first, second):
        np.testing.assert_array_equal(y[part[0][:, 0].astype(int)], part[1])
    again = hold_out((x, y), 0.25, seed=3)
    np.testing.assert_array_equal(again[1][0], second[0])
    assert (hold_out((x, y), 0.25, seed=4)[1][0] != second[0]).any()
    for bad in (0, 1, 2):
        with pytest.raises(ValueError, match=f"fraction is {bad}; expected a number between 0"):
            hold_out((x, y), bad)
    with pytest.raises(ValueError, match="class 2 has 1 row, too few"):
        hold_out((x[:-1], y[:-1]), 0.25)


def test_nothing_is_learnt_from_the_validation_rows(tmp_path):
    """Values, numbers to fill in and scaling: of what is left, in the rows that hold_out leaves."""
    whole = load(write(tmp_path / "d.csv", table_of_towns()), "ok", drop=["size", "town"])
    held = hold_out(whole.train, 0.25)[1][0][:, 0]
    path = write(tmp_path / "d.csv", table_of_towns(odd=int(held[0])))
    with pytest.warns(UserWarning, match=r"of the validation set hold .* 1 of 'town' \('Ulm'\)"):
        data = load(path, "ok", impute="mean", validation_fraction=0.25)
    x, y = data.validation
    np.testing.assert_array_equal(x[:, 0], held)
    np.testing.assert_array_equal(y, held % 2)
    kept = data.train[0][:, 0]
    assert len(kept) == 3 * len(held)
    fill = np.float32(np.mean(2 * kept[kept % 5 > 0]))
    assert data.columns == (
        Column("key", fill=float(np.float32(kept.mean()))),
        Column("size", fill=float(fill), indicator=True),
        Column("town", categories=("Bonn", "Kiel")),
    )
    np.testing.assert_array_equal(x[:, 1], np.where(held % 5 == 0, fill, 2 * held))
    np.testing.assert_array_equal(x[0, 3:], 0)

    scaled = standardize(data)
    np.testing.assert_allclose(scaled.scaling.mean[0], kept.mean(), rtol=1e-6)
    mean, scale = scaled.scaling
    np.testing.assert_array_equal(scaled.validation[0], ((x - mean) / scale).astype(np.float32))
    assert standardize(load(path, "ok", impute="mean")).validation is None


def table_of_towns(odd=None):
    """odd: the row that has a value of its own, and a number far from all others."""
    return "key,size,town,ok\n" + "".join(
        f"{i},{'' if i % 5 == 0 else 2 * i},{'Ulm' if i == odd else ['Bonn', 'Kiel'][i // 2 % 2]},"
        f"{i % 2}\n"
        for i in range(80)
    )


def test_numbers_are_held_out_and_scaled_as_those_they_are_learnt_from(tmp_path):
    text = "key,price\n" + "".join(f"{i},{i * i + 0.5}\n" for i in range(40))
    data = standardize(load(write(tmp_path / "d.csv", text), "price", validation_fraction=0.5))
    assert [len(y) for _, y in (data.train, data.test, data.validation)] == [16, 8, 16]
    x, y = data.validation
    key = x[:, :1] * data.scaling.scale + data.scaling.mean
    price = y * data.target_scaling.scale + data.target_scaling.mean
    np.testing.assert_allclose(price, key**2 + 0.5, rtol=1e-4, atol=1e-3)
    assert abs(data.train[1].mean()) < 1e-6 < abs(y.mean())


@pytest.mark.parametrize("fraction", [1, -0.1, "0.2", math.nan])
def test_validation_fraction_is_a_fraction(tmp_path, fraction):
    with raises(f"load: validation_fraction is {fraction!r}; expected a number below 1"):
        load(write(tmp_path / "d.csv", CSV), "kind", validation_fraction=fraction)


def test_a_class_with_one_training_row_has_none_to_hold_out(tmp_path):
    with raises("d.csv: class 'u' has 1 training row, too few to hold one out for validation"):
        load(write(tmp_path / "d.csv", CSV), "kind", validation_fraction=0.5)
    with raises("d.csv: there is 1 training row, too few to hold one out"):
        text = "a,b\n1,0.5\n2,1.5\n"
        load(write(tmp_path / "d.csv", text), "b", task="regression", validation_fraction=0.5)
