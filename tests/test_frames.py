"""DataFrames of pandas and of polars, which .ci/long alone installs."""

import datetime

import jax
import numpy as np
import optax
import pytest
from test_datasets import raises

import jaxnet
from jaxnet.datasets import Column, from_table

AGES = [20.0, 21.0, None, 23.0, 24.0, 25.0, 26.0, 27.0]
COLUMNS = {
    "age": AGES,
    "count": list(range(8)),
    "sex": ["f", "m", None, "f", "m", "f", "m", "f"],
    "smoker": [True, False] * 4,
    "ok": ["yes", "no"] * 4,
}
EXPECTED = (
    Column("age", fill=24.0, indicator=True),
    Column("count", fill=3.5),
    Column("sex", categories=("", "f", "m")),
    Column("smoker", categories=("False", "True")),
)


def frame_of(library, **more):
    module = pytest.importorskip(library, reason="takes its DataFrames; .ci/long installs it")
    return module.DataFrame(COLUMNS | more)


def of(frame, **options):
    # Every value is in the training set: this is of what a frame holds, not of the split.
    return from_table(frame, "ok", test_fraction=0.25, seed=1, **options)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_is_as_a_dict_of_its_columns(library):
    expected = of(COLUMNS, impute="mean")
    found = of(frame_of(library), impute="mean")
    assert found.columns == expected.columns
    assert [c.name for c in found.columns] == [c.name for c in EXPECTED]
    assert [c.categories for c in found.columns] == [c.categories for c in EXPECTED]
    np.testing.assert_array_equal(found.train[0], expected.train[0], strict=True)
    np.testing.assert_array_equal(found.test[0], expected.test[0], strict=True)
    with raises("'age': no value in 1 of 8 cells (row 2)", "impute='median'"):
        of(frame_of(library))
    days = [datetime.datetime(2020, 1, day + 1) for day in range(8)]
    with raises("'when': dates or times ('2020-01-01", "drop=['when']"):
        of(frame_of(library, when=days), impute="mean")


def test_dtypes_of_pandas():
    pandas = pytest.importorskip("pandas", reason="takes its DataFrames; .ci/long installs it")
    frame = frame_of("pandas")
    other = frame.assign(
        age=frame["age"].astype("Float64"),
        count=frame["count"].astype("Int64"),
        sex=frame["sex"].astype("category"),
        smoker=frame["smoker"].astype("boolean"),
        ok=frame["ok"].astype("string"),
    )
    other.index = [f"r{i}" for i in range(8)]
    expected, found = of(frame, impute="mean"), of(other, impute="mean")
    assert found.columns == expected.columns
    np.testing.assert_array_equal(found.train[0], expected.train[0])
    codes = frame.assign(count=pandas.Categorical([2, 5] * 4))
    with raises("'count': numbers as text ('2' in row 0)", "categorical=['count']"):
        of(codes, impute="mean")
    found = of(codes, impute="mean", categorical=["count"])
    assert found.columns[1] == Column("count", categories=("2", "5"))
    with raises("'when': dates"):
        of(frame.assign(when=pandas.date_range("2020", periods=8)), impute="mean")


def test_what_polars_alone_has():
    polars = pytest.importorskip("polars", reason="takes its DataFrames; .ci/long installs it")
    frame = frame_of("polars")
    with raises("the table is of type LazyFrame", "collect() it", error=TypeError):
        of(frame.lazy())
    with raises("column 'pair' holds a ndarray in row 0", "drop the column", error=TypeError):
        of(frame.with_columns(pair=polars.Series([[1, 2]] * 8)), impute="mean")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_fit_takes_a_frame_and_a_series(library):
    frame = frame_of(library, x=np.linspace(0, 1, 8), y=[0, 1] * 4)
    params = jaxnet.init_mlp(jax.random.key(0), (2, 2))

    def fit(x, y):
        options = {"epochs": 2, "batch_size": 4, "optimizer": optax.sgd(0.1)}
        return jaxnet.fit(jaxnet.mlp, params, train=(x, y), **options)[0]

    arrays = np.float32(np.stack([np.linspace(0, 1, 8), np.arange(8)], axis=1))
    expected = fit(arrays, np.array([0, 1] * 4))
    found = fit(frame[["x", "count"]], frame["y"])
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match=r"fit: train: x has a column 'sex' of .*from_table"):
        fit(frame[["x", "sex"]], frame["y"])
