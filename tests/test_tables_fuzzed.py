"""Tables that are drawn, well formed or not, read as pandas reads them or refused in words.

pandas is installed by .ci/long alone.
"""

import gzip
import io
import random
import warnings

import numpy as np
import pytest

from jaxnet.datasets import from_table, load
from jaxnet.datasets._csv import read_csv
from jaxnet.datasets._table import Mixed, Numbers, Texts

pandas = pytest.importorskip("pandas", reason="compares with pandas; .ci/long installs it")

MISSING = ["", "NA", "na", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-"]
WORDS = [
    "u",
    "v w",
    "Ä",
    "it's",
    "a,b",
    "c;d",
    'e"f',
    "two\nlines",
    "x|y",
    "t\tu",
    " padded ",
    "yes",
]
NUMBERS = ["{:d}", "{:.3f}", "{:+.2e}", " {:d}", "{:d} ", "{:.17g}", "{:d}."]


def cell_of(kind, rng):
    if kind == "number" or (kind == "mixed" and rng.random() < 0.7):
        form = rng.choice(NUMBERS)
        value = rng.randrange(-(10**6), 10**6)
        return form.format(value if "d" in form else value * rng.choice([1, 0.1, 1 / 3, 1e-12]))
    if kind == "flag":
        return rng.choice(["True", "False"])
    if kind == "date":
        return f"20{rng.randrange(10, 30)}-0{rng.randrange(1, 10)}-{rng.randrange(10, 29)}"
    if kind == "odd":
        return rng.choice(["1_000", "0x10", "1e400", "inf", "-Infinity", "١", "1,5", "$3", "--2"])
    return rng.choice(WORDS)


def quoted(cell, separator, rng, always):
    has_mark = any(mark in cell for mark in f'"\n\r{separator}')
    if always or has_mark or rng.random() < 0.05:
        return '"' + cell.replace('"', '""') + '"'
    return cell


def drawn(seed):
    """The text of a table and its separator."""
    rng = random.Random(seed)
    separator = rng.choice(",,,;\t|")
    kinds = rng.choices(["number", "word", "flag", "mixed", "date", "odd"], [8, 5, 2, 1, 1, 1],
                        k=rng.randrange(1, 7))  # fmt: skip
    gaps = [rng.choice([0, 0, 0.1, 0.6]) for _ in kinds]
    header = [f"{kind} {i}" for i, kind in enumerate(kinds)] + ["label"]
    if rng.random() < 0.1:
        header[0] = ""
    lines = [header]
    for row in range(rng.randrange(1, 60)):
        cells = [
            rng.choice(MISSING) if rng.random() < gap else cell_of(kind, rng)
            for kind, gap in zip(kinds, gaps, strict=True)
        ]
        if rng.random() < 0.003:
            cells = cells[:-1]
        lines.append([*cells, "xy"[row % 2]])
    always, end = rng.random() < 0.2, rng.choice(["\n", "\r\n"])
    text = end.join(
        separator.join(quoted(cell, separator, rng, always) for cell in cells) for cells in lines
    )
    text = text.replace("\n\n", "\n") + rng.choice(["", end, end * 2])
    return rng.choice(["", "", "\ufeff"]) + text, separator


def of_pandas(text, separator, **options):
    return pandas.read_csv(
        io.StringIO(text.lstrip("\ufeff")),
        sep=separator,
        skipinitialspace=True,
        keep_default_na=False,
        **options,
    )


@pytest.mark.many
@pytest.mark.parametrize("seed", range(400))
def test_a_drawn_table_is_read_as_pandas_reads_it_or_refused(seed, tmp_path):
    text, separator = drawn(seed)
    name = "d.csv.gz" if seed % 5 == 0 else "d.csv"
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if seed % 5 == 0 else content)
    read = read_or_refused(
        tmp_path / name, lambda path: read_csv(path, lambda names: dict.fromkeys(names, "any"))
    )
    if read is None:
        return
    plain = of_pandas(text, separator, dtype=str)
    typed = of_pandas(text, separator, na_values=[*MISSING, "n/a", "#N/A"])
    assert len(read.columns) == plain.shape[1]
    for i, cells in enumerate(read.columns.values()):
        compare(cells, plain.iloc[:, i], typed.iloc[:, i])
    end_to_end(tmp_path / name, plain, read)


def read_or_refused(path, read):
    try:
        return read(path)
    except ValueError as error:
        said = str(error)
    assert str(path) in said
    return None


def compare(cells, plain, typed):
    """plain: pandas' column as text. typed: as what pandas takes it for."""
    is_number = typed.dtype.kind in "iuf"
    texts = [text.strip() for text in plain]
    if isinstance(cells, Numbers):
        expected = [np.nan if text in MISSING else float(text) for text in texts]
        np.testing.assert_array_equal(cells.values, expected)
        assert is_number or np.isnan(expected).all()
    elif isinstance(cells, Texts):
        assert [cells.texts[code] for code in cells.codes] == texts
        assert not is_number or typed.isna().all()
    else:
        assert isinstance(cells, Mixed)
        assert not is_number


def end_to_end(path, plain, read):
    """All the way to features, from the file and from pandas' frame: no crash."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        data = read_or_refused(path, lambda path: load(path, "label", impute="median"))
        if data is None:
            return
        numbers = [name for name, cells in read.columns.items() if isinstance(cells, Numbers)]
        frame = plain.rename(columns=dict(zip(plain.columns, read.columns, strict=True)))
        frame = frame.map(str.strip)[[column.name for column in data.columns] + ["label"]]
        for name in set(numbers) & set(frame):
            frame[name] = read.columns[name].values
        found = from_table(frame, "label", impute="median")
    assert found.columns == data.columns
    np.testing.assert_array_equal(found.train[0], data.train[0])
    np.testing.assert_array_equal(found.test[0], data.test[0])
