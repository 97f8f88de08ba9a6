"""Files of text as lines: plain or compressed, with progress, and what other files are."""

import contextlib
import gzip
import io
import os
import re
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

TABLES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".data")
_IN_PYTHON = "or read it in Python and pass the DataFrame to jaxnet.datasets.from_table"
_SAVE = f"save it as .csv, {_IN_PYTHON}"
OTHERS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods", ".numbers"), "a spreadsheet"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "JSON"),
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".orc", ".avro"), "a table in binary form"),
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".nc", ".mat", ".npy"), "arrays in binary form"),
    **dict.fromkeys((".dta", ".sav", ".por", ".sas7bdat", ".xpt"), "of a statistics program"),
    **dict.fromkeys((".rds", ".rda", ".rdata"), "of R"),
    **dict.fromkeys((".db", ".sqlite", ".sqlite3"), "a database"),
    **dict.fromkeys((".pkl", ".pickle", ".joblib"), "a pickle, which may run any program"),
    **dict.fromkeys((".html", ".htm", ".xml"), "a page, no table"),
    **dict.fromkeys((".pdf", ".docx", ".doc"), "a document, no table"),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar"), "an archive, which may hold many"),
    **dict.fromkeys((".bz2", ".xz", ".zst", ".lz4"), "compressed in a form that is not read here"),
    ".arff": "of Weka",
}
_FIRST_BYTES = {  # of files with a wrong name
    b"PK\x03\x04": "a spreadsheet or an archive",
    b"\xd0\xcf\x11\xe0": "a spreadsheet or a document",
    b"PAR1": "Parquet",
    b"ARROW1": "Feather",
    b"\x89HDF": "HDF5",
    b"SQLite": "a database",
    b"%PDF": "a document",
    b"BZh": "compressed by bzip2",
    b"\xfd7zXZ": "compressed by xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x93NUMPY": "an array of NumPy's",
    b"\x80\x04\x95": "a pickle",
    b"<!DOCTYPE": "a page",
    b"<html": "a page",
    b"[{": "JSON",
    b'{"': "JSON",
    b"version https://git-lfs": "a pointer of Git LFS ('git lfs pull' fetches the file)",
}


def existing(function: str, path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"{function}: path is of type {type(path).__name__}; expected the path of a file or a "
            f"folder, a str or a pathlib.Path"
        )
    path = Path(path)
    if not path.exists():
        mend = f"a relative path starts from {Path.cwd()}"
        if re.match(r"\w{2,}:/", str(path)):
            mend = "download it, and give the path of the file"
        raise FileNotFoundError(f"{path}: no such file or folder; {mend}")
    return path


def suffix_of(path: Path) -> str:
    """In lower case, without .gz."""
    plain = path.with_suffix("") if path.suffix.lower() == ".gz" else path
    return plain.suffix.lower()


def require_table(path: Path) -> None:
    """Raise ValueError, saying what it is, unless the name is one of a table in text."""
    suffix = suffix_of(path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; expected a file, one of {', '.join(TABLES)}")
    if suffix in OTHERS:
        mend = f"unpack it, {_IN_PYTHON}" if "compressed" in OTHERS[suffix] else _SAVE
        mend = "unpack it" if "archive" in OTHERS[suffix] else mend
        raise ValueError(f"{path}: {suffix} is {OTHERS[suffix]}; {mend}")
    if suffix not in TABLES:
        raise ValueError(
            f"{path}: unknown layout; expected {', '.join(TABLES)}, each also with .gz, .npz or a "
            f"folder of text files"
        )


@contextlib.contextmanager
def opened_lines(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a file of text, with their ends; the blank ones at its end are left out.

    Raises ValueError where it holds no text.
    """
    with path.open("rb") as raw:
        _require_text(path, raw.peek(64)[:64])
        is_gz = raw.peek(2)[:2] == b"\x1f\x8b"
        binary = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if is_gz else raw
        # newline="": csv wants to see the ends of lines itself.
        text = io.TextIOWrapper(binary, encoding="utf-8-sig", newline="")
        try:
            yield _without_blank_end(_with_progress(text, path, raw))
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path}, line {_undecodable_line(path, is_gz)}: not UTF-8 text ({error.reason}); "
                f"save it as UTF-8"
            ) from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: damaged ({error}); copy or compress it again") from error


def read_lines(path: Path) -> list[str]:
    with opened_lines(path) as lines:
        found = list(lines)
    if not found:
        raise ValueError(f"{path}: the file is empty; expected a row of data per line")
    return found


def _require_text(path: Path, start: bytes) -> None:
    for first, kind in _FIRST_BYTES.items():
        if start.startswith(first):
            raise ValueError(f"{path}: by its content {kind}, no table in text; {_SAVE}")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{path}: not UTF-8 text but UTF-16; save it as UTF-8")
    if 3 * start.count(0) > len(start):
        raise ValueError(f"{path}: not UTF-8 text, a third of it are bytes of zero; {_SAVE}")


def _undecodable_line(path: Path, is_gz: bool) -> int:
    with gzip.open(path) if is_gz else path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


def _without_blank_end(lines: Iterator[str]) -> Iterator[str]:
    blank: list[str] = []
    for line in lines:
        if line.isspace():
            blank.append(line)
            continue
        if blank:
            yield from blank
            blank = []
        yield line


def _with_progress(text: io.TextIOWrapper, path: Path, raw: BinaryIO) -> Iterator[str]:
    """Say on stderr how much is read, once that has taken two seconds.

    On a terminal in a line that goes at the end, else in a line every ten seconds.
    """
    terminal, start = sys.stderr.isatty(), time.perf_counter()
    last_shown, shown = start + (2.0 if terminal else 0.0), ""
    interval = 0.2 if terminal else 10.0
    size = max(os.fstat(raw.fileno()).st_size, 1)
    try:
        for number, line in enumerate(text):
            if number % 4096 == 0 and time.perf_counter() - last_shown >= interval:
                last_shown = time.perf_counter()
                said = f"reading {path.name}: {raw.tell() / size:.0%}, {number} lines"
                shown = said.ljust(len(shown))
                sys.stderr.write(f"\r{shown}" if terminal else f"{said}\n")
                sys.stderr.flush()
            yield line
    finally:
        if shown and terminal:
            sys.stderr.write("\r" + " " * len(shown) + "\r")
