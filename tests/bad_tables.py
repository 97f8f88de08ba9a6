"""A hundred tables and arguments that nothing can be learnt from, and what is said of each.

Of a file: its name, its content (text or bytes), what is asked for, and phrases of the error.
"""

import datetime
import gzip

import numpy as np

from jaxnet.datasets import Column, from_table, load, read_features, read_texts

OK = "a,b,ok\n1,2,x\n3,4,y\n5,6,x\n7,8,y\n"


def rows(cells, count=4):
    """Lines that begin with their number."""
    return "".join(f"{i + 1},{cells}\n" for i in range(count))


def column(*cells):
    """A table whose column b holds these cells."""
    return "a,b,ok\n" + "".join(f"{i},{cell},{'xy'[i % 2]}\n" for i, cell in enumerate(cells))


XLSX, ZEROS = b"PK\x03\x04" + bytes(range(60)), OK.encode("utf-16-le")
SAVE = "from_table"
FILES = {
    # what it is by its name
    "a spreadsheet": ("d.xlsx", XLSX, {}, [".xlsx is a spreadsheet", "save it as .csv", SAVE]),
    "an old one": ("d.xls", XLSX, {}, [".xls is a spreadsheet", SAVE]),
    "of OpenOffice": ("d.ods", XLSX, {}, [".ods is a spreadsheet", SAVE]),
    "JSON": ("d.json", "[]", {}, [".json is JSON", "save it as .csv", SAVE]),
    "lines of JSON": ("d.jsonl", "{}", {}, [".jsonl is JSON", SAVE]),
    "Parquet": ("d.parquet", b"PAR1", {}, [".parquet is a table in binary form", SAVE]),
    "Feather": ("d.feather", b"ARROW1", {}, [".feather is a table in binary form", SAVE]),
    "HDF5": ("d.h5", b"\x89HDF", {}, [".h5 is arrays in binary form", SAVE]),
    "one array": ("d.npy", b"\x93NUMPY", {}, [".npy is arrays in binary form", SAVE]),
    "Stata": ("d.dta", b"", {}, [".dta is of a statistics program", SAVE]),
    "SPSS": ("d.sav", b"", {}, [".sav is of a statistics program", SAVE]),
    "SAS": ("d.sas7bdat", b"", {}, [".sas7bdat is of a statistics program", SAVE]),
    "R": ("d.rds", b"", {}, [".rds is of R", SAVE]),
    "R, capitals": ("d.RData", b"", {}, [".rdata is of R", SAVE]),
    "a database": ("d.sqlite", b"", {}, [".sqlite is a database", SAVE]),
    "a pickle": ("d.pkl", b"", {}, [".pkl is a pickle", "any program", SAVE]),
    "a page": ("d.html", "<p>", {}, [".html is a page", SAVE]),
    "a document": ("d.pdf", b"%PDF", {}, [".pdf is a document", SAVE]),
    "a pointer": ("d.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", {},
        ["by its content a pointer of Git LFS ('git lfs pull' fetches the file)"]),
    "a page as csv": ("d.csv", "<!DOCTYPE html><html>\n</html>\n", {}, ["by its content a page"]),
    "JSON as csv": ("d.csv", '[{"a": 1, "ok": "x"},\n{"a": 2, "ok": "y"}]', {}, ["content JSON"]),
    "an archive": ("d.zip", XLSX, {}, [".zip is an archive", "unpack it"]),
    "bzip2": ("d.csv.bz2", b"BZh", {}, [".bz2 is compressed", "unpack it"]),
    "xz": ("d.csv.xz", b"", {}, [".xz is compressed", "unpack it"]),
    "Weka": ("d.arff", "", {}, [".arff is of Weka", SAVE]),
    "no suffix": ("data", OK, {}, ["data: unknown layout", ".csv, .tsv"]),
    "a wrong suffix": ("d.cvs", OK, {}, ["d.cvs: unknown layout", "expected .csv"]),
    "compressed JSON": ("d.json.gz", b"", {}, [".json is JSON", SAVE]),
    # what it is by its content
    "a spreadsheet as csv": ("d.csv", XLSX, {}, ["by its content a spreadsheet", SAVE]),
    "Parquet as csv": ("d.csv", b"PAR1" * 9, {}, ["by its content Parquet", SAVE]),
    "a document as csv": ("d.csv", b"%PDF-1.4", {}, ["by its content a document", SAVE]),
    "UTF-16": ("d.csv", OK.encode("utf-16"), {}, ["not UTF-8 text but UTF-16", "save it as UTF-8"]),
    "UTF-16, no mark": ("d.csv", ZEROS, {}, ["bytes of zero", "save it"]),
    "Latin-1": ("d.csv", OK.replace("x", "é").encode("latin-1"), {},
        ["d.csv, line 2: not UTF-8", "save it as UTF-8"]),
    "half a gzip": ("d.csv.gz", gzip.compress(OK.encode())[:-9], {}, ["d.csv.gz: damaged", "copy"]),
    "no text in it": ("d.csv.gz", gzip.compress(b"a,b,ok\n1,\xe9,x\n"), {}, ["line 2: not UTF-8"]),
    # its form
    "empty": ("d.csv", "", {}, ["d.csv: the file is empty", "expected"]),
    "blank": ("d.csv", " \n\n", {}, ["d.csv: the file is empty"]),
    "a header alone": ("d.csv", "a,b,ok\n", {}, ["a header without rows", "expected a row"]),
    "a row too short": ("d.csv", OK + "1,2\n", {}, ["d.csv, line 6: 2 cells", "expected 3"]),
    "a row too long": ("d.csv", OK + "1,2,x,3\n", {}, ["line 6: 4 cells", "into quotes"]),
    "a header too short": ("d.csv", "b,ok\n" + rows("2,x"), {}, ["line 2: 3 cells", "each column"]),
    "separators at ends": ("d.csv", "a,b,ok\n" + rows("2,x,"), {},
        ["line 2: 4 cells; expected 3", "remove the separator at the end of each row"]),
    "a comment above": ("d.csv", "# of 2020\n" + OK, {},
        ["line 2: 3 cells; expected 1", "no row is as the header", "remove lines above it"]),
    "Excel's first line": ("d.csv", "sep=;\n" + OK.replace(",", ";"), {},
        ["line 2: 3 cells; expected 2", "remove lines above it"]),
    "a blank line": ("d.csv", OK + "\n9,9,x\n", {}, ["line 6: 0 cells", "remove the empty line"]),
    "blank first line": ("d.csv", "\n" + OK, {}, ["line 1: 0 cells", "names of columns"]),
    "an open quote": ("d.csv", OK + '1,2,"x\n', {}, ["line 6", "check the quotes"]),
    "a quote within": ("d.csv", OK + '1,"2"3,x\n', {}, ["line 6", "check the quotes"]),
    "two of a name": ("d.csv", "a,a,ok\n" + rows("2,x"), {}, ["called 'a'", "rename or drop"]),
    "data for a header": ("d.csv", "1,1,ok\n" + rows("2,x"), {}, ["called '1'", "names above it"]),
    "no name": ("d.csv", "a,,ok\n" + rows("u,x"), {}, ["column 2 has no name", "--drop 'colu"]),
    "row names": ("d.csv", ",a,ok\nu,1,x\nv,2,y\n", {}, ["column 1 has no name", "name it"]),
    "between blanks": ("d.txt", "a b ok\n1 2 x\n3 4 y\n", {}, ["'a b ok'", "separated by blanks"]),
    "two separators": ("d.csv", "a,b;ok\n1,2;x\n3,4;y\n", {}, ["commas and semicolons", "save it"]),
    # its columns
    "dates": ("d.csv", column("2020-01-02", "2020-02-03", "", "2021-03-04"), {},
        ["'b': dates or times ('2020-01-02' in line 2)", "--drop b"]),
    "German dates": ("d.csv", column("1.2.2020", "03.04.2021"), {}, ["'b': dates", "--drop b"]),
    "American dates": ("d.csv", column("1/2/20", "12/31/2021"), {}, ["'b': dates", "--drop b"]),
    "days of the week": ("d.csv", column("Mon 3 Mar 2020", "Tue 4 Mar 2020"), {}, ["'b': dates"]),
    "dates and a word": ("d.csv", column("unknown", "2020-01-02", "2020-02-03"), {},
        ["'b': dates or times ('2020-01-02' in line 3)"]),
    "times": ("d.csv", column("12:30", "13:45:10"), {}, ["'b': dates or times", "--drop b"]),
    "both": ("d.csv", column("2020-01-02 10:00", "2020-01-02T11:00:00Z"), {}, ["'b': dates"]),
    "months": ("d.csv", column("Jan 1 2000", "Feb 1 2000"), {}, ["'b': dates", "--drop b"]),
    "a gap": ("d.csv", column(1, "", 3, 4), {},
        ["'b': no value in 1 of 4 cells (line 3)", "--impute median", "impute='median'"]),
    "NA": ("d.csv", column("NA", "n/a", 3, 4), {}, ["no value in 2 of 4 cells (line 2, line 3)"]),
    "many gaps": ("d.csv", column(*["?"] * 9, 1), {}, ["9 of 10 cells (line 2, line 3, line 4, ."]),
    "nothing": ("d.csv", column("", "", "", ""), {}, ["'b': every cell is empty", "--drop b"]),
    "nothing to fill in": ("d.csv", column("", "NA"), {"impute": "mean"}, ["'b': every cell is e"]),
    "a word": ("d.csv", column(1, 2, "three", 4), {},
        ["'b': no number in 1 of 4 cells ('three' in line 4)", "--categorical b"]),
    "a word first": ("d.csv", column("one", 2, 3, 4), {}, ["no number in 1 of 4 cells ('one'"]),
    "more words": ("d.csv", column(1, *"uvwx"), {}, ["in 4 of 5 cells ('u' in line 3, 'v' in"]),
    "Python's number": ("d.csv", column("1_000", 2), {}, ["'1_000' in line 2", "-1.5e3"]),
    "the same below": ("d.csv", column(2, "1_000"), {}, ["('1_000' in line 3)"]),
    "a unit": ("d.csv", column("1", "2 km"), {}, ["'2 km' in line 3", "--categorical b"]),
    "infinite": ("d.csv", column(1, "inf"), {}, ["no finite float32 in 1 of", "(inf in line 3)"]),
    "too large": ("d.csv", column(1, "-1e39"), {}, ["(-1e+39 in line 3)", "--drop b"]),
    "decimal commas": ("d.csv", "a;b;ok\n1;1,5;x\n2;2,5;y\n", {}, ["'1,5' in line 2", "1234.5"]),
    "thousands": ("d.csv", column('"1,200"', '"3,100"'), {}, ["'1,200' in line 2", "1234.5"]),
    "dollars": ("d.csv", column("$12", "$15"), {}, ["'$12' in line 2", "1234.5"]),
    "narrow blanks": ("d.csv", column("1\xa0200", "2\u202f300"), {}, ["1234.5"]),
    "of bookkeepers": ("d.csv", column("(1.50)", "(2.50)"), {}, ["'(1.50)' in line 2", "1234.5"]),
    "thousands and a word": ("d.csv", column("free", '"1,200"', '"3,100"'), {},
        ["numbers in a form that is not read ('1,200' in line 3)"]),
    "percent": ("d.csv", column("12%", "15 %"), {}, ["'12%' in line 2", "1234.5"]),
    "seconds since 1970": ("d.csv", column(*(1.7e9 + np.arange(9))), {}, ["too little for float"]),
    "many texts": ("d.csv", column(*(f"t{i}" for i in range(1001))), {}, ["1001 different texts"]),
    "several": ("d.csv", "a,b,c,d,ok\n1,,2020-01-01,u,x\n2,3,2020-01-02,4,y\n", {},
        ["3 columns", "'b'", "'c'", "'d'", "--drop c --categorical d --impute median"]),
    "a blank in a name": ("d.csv", "a b,ok\n2020-01-01,x\n2020-01-01,y\n", {}, ["--drop 'a b'"]),
    "one name for two": ("d.csv", "s,s=u,ok\nu,1,x\nu,2,y\nu,1,x\nu,2,y\n", {}, ["called 's=u'"]),
    # its labels
    "no column for labels": ("d.csv", OK, {"target": None}, ["target is None", "'a', 'b', 'ok'"]),
    "another": ("d.csv", OK, {"target": "okay"}, ["target is 'okay'", "is it 'ok'?"]),
    "capitals": ("d.csv", OK, {"target": "OK"}, ["target is 'OK'", "is it 'ok'?"]),
    "a missing label": ("d.csv", OK + "9,9,\n", {},
        ["the target has no value in 1 of 5 cells (line 6); drop these rows, or fill the labels"]),
    "a NaN label": ("d.csv", OK + "9,9,nan\n", {}, ["no value in 1 of 5 cells (line 6)"]),
    "one class": ("d.csv", OK.replace("y", "x"), {}, ["'x' is the only class", "expected"]),
    "a class of one": ("d.csv", OK + "9,9,z\n", {}, ["class 'z' has 1 row(s)", "expected 2"]),
    "classes of one": ("d.csv", "a,ok\n" + "".join(f"1,t{i}\n" for i in range(9)), {},
        ["class 't0' has 1 row(s), 't1' has 1 row(s), 't2' has 1 row(s), ..., too few", "drop"]),
    "infinite target": ("d.csv", "a,ok\n1,0.5\n2,inf\n3,2.5\n4,3.5\n", {},
        ["line 3: the target is 'inf', in 1 row(s) no number", "drop"]),
    "two numbers": ("d.csv", "a,ok\n1,1.5\n2,2.5\n", {}, ["say --task regression"]),
    "decimal commas for labels": ("d.csv", "a;ok\n1;0,5\n2;1,5\n3;0,5\n4;1,5\n", {},
        ["the target holds numbers in a form that is not read, such as '0,5'", "1234.5"]),
    "one number twice": ("d.csv", OK.replace("x", "1").replace("y", "1.0"), {}, ["the same"]),
    "labels alone": ("d.csv", "ok\nx\ny\nx\ny\n", {}, ["no column beside the target, 'ok'"]),
    # what is asked for
    "drop none": ("d.csv", OK, {"drop": ["c"]}, ["drop has 'c', which is no column", "'a', 'b'"]),
    "drop two as one": ("d.csv", OK, {"drop": ["a,b"]}, ["drop has 'a,b'", "2 columns? then give"]),
    "drop all": ("d.csv", OK, {"drop": ["a", "b"]}, ["drop leaves no column", "leave one of 'a'"]),
    "features of none": ("d.csv", OK, {"features": []}, ["features names no column", "take all"]),
    "drop the target": ("d.csv", OK, {"drop": ["ok"]}, ["drop has the target", "leave it out"]),
    "take the target": ("d.csv", OK, {"features": ["ok"]}, ["features has the target"]),
    "take none": ("d.csv", OK, {"features": ["A"]}, ["features has 'A', which is no column"]),
    "take and drop": ("d.csv", OK, {"features": ["a"], "drop": ["b"]}, ["give one of them"]),
    "categories of none": ("d.csv", OK, {"categorical": ["bb"]}, ["categorical has 'bb'"]),
    "categories dropped": ("d.csv", OK, {"categorical": ["a"], "drop": ["a"]}, ["is left out"]),
    "one text to drop": ("d.csv", OK, {"drop": "a"}, ["drop is 'a'; expected a list"]),
    "a number to drop": ("d.csv", OK, {"drop": [1]}, ["drop is [1]; expected a list"]),
    "impute 0": ("d.csv", OK, {"impute": 0}, ["impute is 0; expected 'median', 'mean' or None"]),
    "impute the mode": ("d.csv", OK, {"impute": "mode"}, ["impute is 'mode'; expected 'median'"]),
}  # fmt: skip


def of_file(name, content, options):
    def call(folder):
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        load(path, **{"target": "ok"} | options)

    return call


A, LABELS = [1.0, 2.0, 3.0, 4.0], ["x", "y", "x", "y"]
FRAMES = {
    "a list": ([A], {}, ["from_table", "of type list", "expected a DataFrame"]),
    "an array": (np.ones((2, 2)), {}, ["from_table", "ndarray", "a dict of columns by name"]),
    "no text for a name": ({0: A, "ok": LABELS}, {}, ["a column is called 0", "expected text"]),
    "no such target": ({"a": A}, {}, ["from_table: target is 'ok'", "one of 'a'"]),
    "other lengths": ({"a": A[:3], "ok": LABELS}, {}, ["column 'a' has 3 rows and 'ok' has 4"]),
    "a matrix": ({"a": np.ones((4, 2)), "ok": LABELS}, {}, ["column 'a' has shape (4, 2)"]),
    "complex": (
        {"a": np.ones(4) * 1j, "ok": LABELS},
        {},
        ["'a' is of dtype complex128"],
    ),
    "lists": (
        {"a": [[1], [2], [3], {}], "ok": LABELS},
        {},
        ["'a' holds a list in row 0"],
    ),
    "dates": ({"a": np.array(["2020-01-01"] * 4, "M8[D]"), "ok": LABELS}, {}, ["'a': dates"]),
    "Python's": ({"a": [datetime.date(2020, 1, 1)] * 4, "ok": LABELS}, {}, ["'a': dates"]),
    "a gap": ({"a": [1.0, np.nan, 2, 3], "ok": LABELS}, {}, ["no value in 1 of 4 cells (row 1)"]),
    "numbers and text": ({"a": [1, "b", 2, 3], "ok": LABELS}, {}, ["'b' in row 1", "categorical"]),
    "labels with a gap": (
        {"a": A, "ok": ["x", None, "x", "y"]},
        {},
        ["no value in 1 of 4 cells (row 1)"],
    ),
    "NaN for a label": ({"a": A, "ok": [0, 1, np.nan, 1]}, {}, ["(row 2)", "drop these rows, or"]),
    "mixed labels": ({"a": A, "ok": [1, "y", 1, "y"]}, {}, ["target 'ok' holds text in 2 rows"]),
    "arrays": ({"a": [np.ones(2)] * 4, "ok": LABELS}, {}, ["holds a ndarray in row 0", "drop"]),
    "numbers as text": (
        {"a": ["1", "2", None, "3"], "ok": LABELS},
        {},
        ["'a': numbers as text ('1' in row 0)", "categorical=['a']"],
    ),
    "masked": ({"a": np.ma.masked_equal(A, 2), "ok": LABELS}, {}, ["1 of 4 cells (row 1)"]),
    "dates for labels": (
        {"a": A, "ok": np.zeros(4, "M8[D]")},
        {},
        ["target 'ok' holds dates", "such as a year"],
    ),
    "no rows": ({"a": [], "ok": []}, {}, ["expected at least"]),
}


def of_frame(frame, options):
    return lambda _: from_table(frame, **{"target": "ok"} | options)


def of_new(text, features):
    def call(folder):
        path = folder / "new.csv"
        path.write_text(text)
        read_features(path, features)

    return call


SEX = Column("sex", categories=("f", "m"))
AGE = Column("age", fill=3.0, indicator=True)
OPTIONS = {
    "no file": (
        lambda folder: load(folder / "d.csv", "ok"),
        ["d.csv: no such file", "starts from"],
    ),
    "an address": (
        lambda _: load("https://example.com/d.csv", "ok"),
        ["no such file or folder; download it, and give the path"],
    ),
    "a folder of other files": (lambda folder: load(folder, "ok"), ["no 'XTrain.txt'", "expected"]),
    "no path": (lambda _: load(3, "ok"), ["load: path is of type int", "expected the path"]),
    "a folder": (lambda folder: load(folder), ["no 'XTrain.txt'", "expected a folder with"]),
    "a folder to predict": (
        lambda folder: read_features(folder, ["a"]),
        ["a folder; expected a f"],
    ),
    "a folder of texts": (lambda folder: read_texts(folder, ["a"]), ["a folder; expected a file"]),
    "no column sex": (
        of_new("age\n1\n", [AGE, SEX]),
        ["new.csv: no column 'sex'; add or ren"],
    ),
    "a gap to predict": (
        of_new("b,a\n1,\n2,3\n", ["a"]),
        ["'a': no value in 1 of 2 cells (li"],
    ),
    "a word to predict": (of_new("age\n1\nx\n", [AGE]), ["'age': 'x' in line 3 is no number"]),
    "inf to predict": (of_new("age\ninf\n", [AGE]), ["'age': inf in line 2 is no finite float32"]),
    "two to predict": (
        of_new("a,b\n,x\n", ["a", "b"]),
        ["'a': no value", "'b': 'x' in line 2"],
    ),
    "names as one": (of_new("a\n1\n", "a"), ["features is 'a'; expected a list of names"]),
    "numbers for names": (of_new("a\n1\n", [1]), ["features is [1]; expected a list of names"]),
}
TABLE = {
    **{f"file: {name}": (of_file(*row[:3]), [row[0].split(".")[0], *row[3]])
       for name, row in FILES.items()},
    **{f"frame: {name}": (of_frame(*row[:2]), row[2]) for name, row in FRAMES.items()},
    **{f"option: {name}": row for name, row in OPTIONS.items()},
}  # fmt: skip
