"""Tables as people have them: text, gaps and dates, other separators, data frames."""

import datetime
import gzip
import re
import tracemalloc
import warnings

import numpy as np
import pytest
from bad_tables import FILES, FRAMES, OPTIONS, TABLE, rows
from test_datasets import raises, write

import jaxnet
from jaxnet.datasets import Column, from_table, load, look, read_features, read_texts, standardize

PEOPLE = "age,sex,smoker,ok\n" + "".join(
    f"{20 + i},{'female' if i % 3 else 'male'},{i % 4 == 0},{'yes' if i % 2 else 'no'}\n"
    for i in range(24)
)


def people(tmp_path, text=PEOPLE, name="d.csv"):
    return write(tmp_path / name, text)


def by_age(data):
    """Features of all rows of both sets, in the order of the file."""
    x = np.concatenate([data.train[0], data.test[0]])
    return x[np.argsort(x[:, 0])]


# ---- what becomes a feature


def test_text_and_booleans_are_one_feature_for_each_value(tmp_path):
    data = load(people(tmp_path), "ok")
    assert data.features == (
        "age", "sex=female", "sex=male", "smoker=False", "smoker=True",
    )  # fmt: skip
    assert data.columns == (
        Column("age"),
        Column("sex", categories=("female", "male")),
        Column("smoker", categories=("False", "True")),
    )
    expected = [[20 + i, i % 3 > 0, i % 3 == 0, i % 4 > 0, i % 4 == 0] for i in range(24)]
    np.testing.assert_array_equal(by_age(data), expected)
    assert data.target == "ok"


def test_an_empty_text_cell_is_a_value_of_its_own(tmp_path):
    data = load(people(tmp_path, PEOPLE.replace("female", "")), "ok")
    assert data.columns[1].categories == ("", "male")
    assert data.features[1:3] == ("sex=", "sex=male")
    np.testing.assert_array_equal(by_age(data)[:, 1], [i % 3 > 0 for i in range(24)])


def test_codes_are_categories_where_asked(tmp_path):
    text = "age,ward,ok\n" + "".join(f"{i},{10 - i % 3},{i % 2}\n" for i in range(12))
    data = load(people(tmp_path, text), "ok", categorical=["ward"])
    assert data.features == ("age", "ward=8", "ward=9", "ward=10")
    with_gap = text.replace(",10,", ",,").replace(",9,", ",9.0,")  # as a program writes integers
    again = load(people(tmp_path, with_gap), "ok", categorical=["ward"])
    assert again.columns[1].categories == ("8", "9", "")


def test_columns_are_left_out_or_taken_alone(tmp_path):
    path = people(tmp_path)
    assert load(path, "ok", drop=["sex", "smoker"]).features == ("age",)
    assert load(path, "ok", features=("smoker", "age")).features[0] == "age"
    with_dates = PEOPLE.replace("False", "2020-01-03").replace("True", "2020-02-03")
    assert load(people(tmp_path, with_dates), "ok", drop=["smoker"]).features[0] == "age"


@pytest.mark.parametrize(("impute", "fill"), [("median", np.median), ("mean", np.mean)])
def test_missing_numbers_are_filled_in_from_the_training_rows(impute, fill, tmp_path):
    text = "key,size,ok\n" + "".join(
        f"{i},{'' if i % 5 == 0 else i * i},{i % 2}\n" for i in range(40)
    )
    data = load(people(tmp_path, text), "ok", impute=impute)
    assert data.features == ("key", "size", "size is missing")
    keys = data.train[0][:, 0]
    expected = np.float32(fill(keys[keys % 5 > 0] ** 2))
    assert data.columns[1] == Column("size", fill=float(expected), indicator=True)
    for x, _ in (data.train, data.test):
        missing = x[:, 0] % 5 == 0
        np.testing.assert_array_equal(x[:, 1], np.where(missing, expected, x[:, 0] ** 2))
        np.testing.assert_array_equal(x[:, 2], missing)


@pytest.mark.parametrize("word", ["", "NA", "N/A", "nan", "NULL", "None", "?", "-"])
def test_words_for_no_number(word, tmp_path):
    path = people(tmp_path, PEOPLE.replace("\n21,", f"\n{word},").replace("\n30,", f"\n{word},"))
    with raises("d.csv: 1 column", "'age': no value in 2 of 24 cells (line 3, line 12)"):
        load(path, "ok")


def test_categories_and_indicators_are_not_scaled(tmp_path):
    data = standardize(load(people(tmp_path), "ok"))
    assert data.scaling.mean[0] > 20
    np.testing.assert_array_equal(data.scaling.mean[1:], 0)
    np.testing.assert_array_equal(data.scaling.scale[1:], 1)
    assert set(np.unique(data.test[0][:, 1:])) == {0, 1}


def test_a_value_of_the_test_set_alone_is_zeros_and_said(tmp_path):
    text = "size,town,ok\n" + "".join(f"{i},{'abc'[i % 3]},{i % 2}\n" for i in range(30))
    rows = load(people(tmp_path, text), "ok").test[0][:, 0]
    lines = text.splitlines()
    lines[1 + int(rows[0])] = f"{int(rows[0])},Ulm,{int(rows[0]) % 2}"
    with pytest.warns(UserWarning, match=r"of the test set hold .* 0 there: 1 of 'town' \('Ulm'\)"):
        data = load(people(tmp_path, "\n".join(lines)), "ok")
    assert data.features[1:] == ("town=a", "town=b", "town=c")
    np.testing.assert_array_equal(data.test[0][0, 1:], 0)


def test_booleans_of_other_programs_are_the_same(tmp_path):
    of_r = PEOPLE.replace("True", "TRUE").replace("False", "FALSE")
    expected = load(people(tmp_path), "ok")
    assert load(people(tmp_path, of_r), "ok").columns == expected.columns
    x = read_features(people(tmp_path, of_r.lower()), expected.columns)
    np.testing.assert_array_equal(x[:, 3:], [[i % 4 > 0, i % 4 == 0] for i in range(24)])


def test_blanks_that_are_not_of_ascii_are_no_part_of_a_number(tmp_path):
    padded = re.sub(r"\n(\d+)", "\n\u00a0\\1\u00a0", PEOPLE)
    assert padded != PEOPLE
    np.testing.assert_array_equal(by_age(load(people(tmp_path, padded), "ok"))[:, 0], range(20, 44))


def test_half_a_float_is_wide_enough():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = from_table({"a": np.float16([1, 2.5] * 4), "ok": [*"xy"] * 4}, "ok")
    assert set(np.unique(data.train[0])) == {1, 2.5}


def test_a_column_without_a_name_that_counts_is_left_out_and_said(tmp_path):
    lines = PEOPLE.splitlines()
    numbered = [f"{i},{line}" for i, line in enumerate(lines)]
    path = people(tmp_path, "\n".join(["," + lines[0], *numbered[1:]]))
    with pytest.warns(UserWarning, match="'column 1' has no name and counts the rows"):
        assert load(path, "ok").features[0] == "age"
    assert load(path, "ok", drop=["column 1"]).features[0] == "age"
    named = PEOPLE.replace("age,sex", "column 1,column 2")
    assert load(people(tmp_path, named), "ok").features[:2] == ("column 1", "column 2=female")
    with pytest.warns(UserWarning, match="'column 5' has no name"):
        load(people(tmp_path, PEOPLE.replace("\n", ",\n")), "ok")


# ---- files


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["d.csv", "d.txt", "d.tsv", "d.csv.gz"])
def test_separators_and_suffixes_read_the_same(separator, name, tmp_path):
    expected = load(people(tmp_path, name="plain.csv"), "ok")
    text = PEOPLE.replace("sex", '"se,x"').replace("female", "f;e|m,a\tle")
    lines = [line.replace(",", separator) for line in PEOPLE.splitlines()]
    quoted = "\r\n".join(lines).replace("sex", '"se,x;"').replace("female", '"f;e|m,a\tle"')
    content = gzip.compress(quoted.encode()) if name.endswith(".gz") else quoted
    data = load(write(tmp_path / name, content), "ok")
    assert text != quoted
    assert data.features[1] == "se,x;=f;e|m,a\tle"
    np.testing.assert_array_equal(data.train[0], expected.train[0])


def test_lines_are_right_below_cells_that_hold_some(tmp_path):
    text = 'a,b,ok\n1,"two\nlines",x\n2,c,y\n,"d\r\ne\r\n",x\n4,c,y\n5,c,x\n'
    with raises("'a': no value in 1 of 5 cells (line 7)"):
        load(people(tmp_path, text), "ok")


def test_columns_are_read_alike_in_many_chunks(tmp_path, monkeypatch):
    from jaxnet.datasets import _csv

    text = "key,a,b,c,ok\n" + "".join(
        f"{i},{'' if i < 9 else i},{'' if i < 9 else 'x' + str(i % 2)},{i},{i % 2}\n"
        for i in range(40)
    )
    path = people(tmp_path, text)
    whole = load(path, "ok", impute="mean")
    monkeypatch.setattr(_csv, "_AT_ONCE", 3)
    parts = load(path, "ok", impute="mean")
    assert whole.columns == parts.columns
    np.testing.assert_array_equal(whole.train[0], parts.train[0])
    with raises("'c': no number in 1 of 40 cells ('y' in line 32)"):
        load(people(tmp_path, text.replace(",30,0", ",y,0")), "ok", impute="mean")


# ---- data frames


class Frame(dict):
    """As a DataFrame is: columns by name."""

    columns = property(list)


def test_a_frame_is_read_as_its_file(tmp_path):
    data = load(people(tmp_path), "ok")
    ages = np.arange(20, 44)
    sexes = np.array(["female" if i % 3 else "male" for i in range(24)], object)
    frame = Frame(age=ages, sex=sexes, smoker=ages % 4 == 0, ok=["no", "yes"] * 12)
    for table in (frame, dict(frame), frame | {"age": ages.astype(object)}):
        found = from_table(table, "ok")
        assert (found.columns, found.classes) == (data.columns, data.classes)
        for expected, got in zip(
            (*data.train, *data.test), (*found.train, *found.test), strict=True
        ):
            np.testing.assert_array_equal(got, expected, strict=True)


class NAType:
    """As pandas' NA: neither true nor false."""

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __eq__(self, other):
        return self

    __hash__ = None


def test_what_is_missing_in_a_frame(tmp_path):
    gaps = [1, None, 3.5, np.nan, NAType(), True]
    frame = Frame(a=[1.0, None, 3.5, np.nan, NAType(), 2], b=["x", None, "y", np.nan, "x", "y"])
    frame |= {"when": [datetime.date(2020, 1, 1)] * 6, "odd": [*gaps[:5], "z"]}
    with raises("3 columns cannot be used", "'a': no value in 3 of 6 cells (row 1, row 3, row 4)",
                "'when': dates", "'odd': no number in 1 of 6 cells ('z' in row 5)",
                "--drop when --categorical odd --impute median"):  # fmt: skip
        from_table(frame | {"ok": [0, 1] * 3}, "ok")
    data = from_table(frame | {"ok": [0, 1] * 3}, "ok", drop=["when", "odd"], impute="mean")
    assert {"a", "a is missing", "b=x"} <= set(data.features)


def test_a_frame_costs_no_copy_but_the_one_into_float32():
    values = np.random.default_rng(0).normal(size=(20, 50_000))
    frame = Frame({f"x{i}": column for i, column in enumerate(values)}, ok=[0, 1] * 25_000)
    tracemalloc.start()
    data = from_table(frame, "ok")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = sum(x.nbytes for x, _ in (data.train, data.test))
    assert kept == values.nbytes / 2
    assert most < 1.8 * kept  # labels, and a column or two meanwhile


# ---- a network keeps it


def test_a_network_of_such_a_table_is_saved_and_takes_files_and_frames(tmp_path):
    text = PEOPLE.replace("\n25,", "\n,").replace("\n37,", "\n,")
    data = standardize(load(people(tmp_path, text), "ok", impute="median"))
    params = jaxnet.init_mlp(jaxnet.training.jax.random.key(0), (len(data.features), 2))
    network = jaxnet.Network(
        params, data.features, data.classes, scaling=data.scaling, columns=data.columns
    )
    jaxnet.save(tmp_path / "n.npz", network)
    found = jaxnet.load_network(tmp_path / "n.npz")
    assert found.columns == data.columns

    new = "ok,sex,age,smoker\nyes,male,,True\nno,robot,31,False\n"
    with pytest.warns(UserWarning, match=r"0 there: 1 of 'sex' \('robot'\)"):
        x = read_features(people(tmp_path, new), found.columns)
    fill = data.columns[0].fill
    np.testing.assert_array_equal(x, [[fill, 1, 0, 1, 0, 1], [31, 0, 0, 0, 1, 0]])
    frame = Frame(smoker=[True, False], age=[None, 31], sex=["male", "robot"], more=["a", "b"])
    with pytest.warns(UserWarning, match="'robot'"):
        got = found.probabilities(frame)
    np.testing.assert_array_equal(got, network.probabilities(x))
    assert read_texts(tmp_path / "d.csv", ["ok"]) == {"ok": ("yes", "no")}


def test_a_network_of_plain_numbers_is_saved_as_before(tmp_path):
    data = load("data/breast_cancer.csv", "diagnosis")
    params = jaxnet.init_mlp(jaxnet.training.jax.random.key(0), (30, 2))
    network = jaxnet.Network(params, data.features, data.classes, columns=data.columns)
    jaxnet.save(tmp_path / "n.npz", network)
    with np.load(tmp_path / "n.npz") as arrays:
        assert set(arrays) == {"features", "classes", "activation", "0.weight", "0.bias"}


# ---- the look at the data


def remarks(x, ok, **columns):
    return "\n".join(look(from_table({"x": x, **columns, "ok": ok}, "ok")))


def test_what_a_look_says():
    rng = np.random.default_rng(0)
    x, ok = rng.normal(size=60), rng.permutation(["a", "b"] * 30)
    plain = remarks(x, ok)
    assert plain == "50.0% of the training rows are of class 'a', the most frequent"
    assert "'id': another whole number in every row" in remarks(x, ok, id=np.arange(60) + 1000)
    assert "'patient_id': another" in remarks(x, ok, patient_id=rng.permutation(10**6)[:60])
    assert "another whole" not in remarks(x, ok, income=rng.permutation(10**6)[:60])
    names = [f"p{i}" for i in range(60)]
    with pytest.warns(UserWarning, match="no training row"):
        assert "different texts in 48 rows, as names" in remarks(x, ok, name=names)
    for leak in (ok == "a", [{"a": "u", "b": "v"}[k] for k in ok], x * 0.01 + (ok == "a")):
        assert "'leak' alone gives the label of every" in remarks(x, ok, leak=leak)
    assert "alone gives" not in remarks(x, ok, town=rng.choice(["u", "v"], 60))
    said = remarks(x, ok, mass=[f"{i % 12} kg" for i in range(60)])
    assert "'mass': texts that begin as numbers do, such as '0 kg', each a category" in said
    for few in (["1st", "2nd", "3rd"] * 20, [f"g{i % 12}" for i in range(60)]):
        assert "begin as" not in remarks(x, ok, grade=few)
    codes = {"x": x, "n": [i % 12 for i in range(60)], "ok": ok}
    assert "begin as" not in " ".join(look(from_table(codes, "ok", categorical=["n"])))


def test_what_a_look_says_of_classes():
    x = np.random.default_rng(0).normal(size=60)
    said = remarks(x, ["Yes", "yes ", "no", "NA"] * 15)
    assert "classes 'Yes' and 'yes' differ in case or blanks alone" in said
    assert "class 'NA' (12 training rows): if it stands for no label, drop them" in said
    said = remarks(x, ["a"] * 50 + ["b"] * 6 + ["c"] * 4)
    assert "a handful of training rows, of which little can be learnt: 'b' 5, 'c' 3" in said
    assert said.endswith("83.3% of the training rows are of class 'a', the most frequent")


def test_a_header_that_looks_like_data_is_said(tmp_path):
    path = people(
        tmp_path, "5.1,3.5,0.2,kind\n" + "".join(f"{i},{i}.5,1,{i % 2}\n" for i in range(9))
    )
    assert "a number for a name, such as '5.1'" in look(load(path, "kind"))[0]


# ---- what is refused

MEND = "drop|expected|save|write|give|put|remove|rename|name it|copy|fill|check|unpack|leave|starts"


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_table_names_file_place_and_mend(name, tmp_path):
    """The file, or the function; the column or the line; and what to do."""
    call, phrases = TABLE[name]
    with pytest.raises((ValueError, TypeError, FileNotFoundError)) as error:
        call(tmp_path)
    said = str(error.value)
    for phrase in phrases:
        assert phrase in said, said
    assert re.search(MEND, said), said


def test_the_table_is_long():
    assert len(FILES) + len(FRAMES) + len(OPTIONS) == len(TABLE) >= 100
    assert rows("a", 2) == "1,a\n2,a\n"
