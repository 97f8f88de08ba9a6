"""Files that are written whole or not at all; archives of arrays."""

import contextlib
import itertools
import os
import platform
import re
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_UNFINISHED = re.compile(r"\.(?P<host>[^.]*)\.(?P<process>\d+)\.\d+-\d+\.unfinished")
_DAY = 24 * 60 * 60  # seconds
_count = itertools.count()


def write_whole(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Readers find the old file, or none, until the new one is complete; so they do after a crash.

    The folder is made where it is missing. A failure leaves no half of a file behind, and what a
    killed process left of this one is removed.
    """
    with open_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_npz(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """What numpy.savez writes, but whole, and never with a pickle in it.

    NumPy's format does not know bfloat16 and its like: their names are stored beside them.
    Raises ValueError for an array of Python objects.
    """
    named = {name: np.asarray(array) for name, array in arrays.items()}
    dtypes = {
        f"{name}.dtype": np.array(array.dtype.name)
        for name, array in named.items()
        if array.dtype.kind == "V" and array.dtype.type is not np.void
    }
    with open_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in (named | dtypes).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    """The arrays of an archive that `write_npz` or numpy.savez wrote.

    Raises OSError where there is no file to read, ValueError, which names the path, where it is no
    such archive or is damaged.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: not an .npz archive")
        try:
            entries = _entries(file)
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                if entries not in (None, len(archive.files)):
                    raise ValueError(f"{len(archive.files)} of {entries} arrays are found")
                arrays = {name: np.asarray(archive[name]) for name in archive.files}
            for name in [name for name in arrays if f"{name}.dtype" in arrays]:
                arrays[name] = arrays[name].view(np.dtype(str(arrays.pop(f"{name}.dtype"))))
        # A flipped bit may look like anything: a checksum, an encryption, an array of terabytes.
        except Exception as error:
            raise ValueError(f"{path}: damaged, or not of arrays alone ({error})") from error
    return arrays


def _entries(file: BinaryIO) -> int | None:
    """How many there should be: where a length in the directory is wrong, zipfile skips some.

    None where the archive ends in a comment, which NumPy's have not.
    """
    file.seek(-22, os.SEEK_END)
    end = file.read()
    return int.from_bytes(end[10:12], "little") if end.startswith(b"PK\5\6") else None


@contextlib.contextmanager
def open_whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes the place of path once the block has ended without an error."""
    path = Path(os.path.realpath(path))  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as device:  # /dev/null, say, which nothing should replace
            yield device
        return
    remove_leftovers(path)
    unfinished = unfinished_name(path)
    try:
        with unfinished.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _host() -> str:
    return platform.node().replace(".", "-").replace(os.sep, "-")[:40]


def _stem(path: Path) -> str:
    # A file's name has 255 bytes at most.
    return path.name.encode(errors="ignore")[:100].decode(errors="ignore")


def unfinished_name(path: Path) -> Path:
    """A name of this process, thread and call alone: two writers of one path never share it."""
    own = f"{os.getpid()}.{threading.get_ident()}-{next(_count)}"
    return path.with_name(f"{_stem(path)}.{_host()}.{own}.unfinished")


def remove_leftovers(path: Path) -> None:
    """Of what killed processes left of this file, or folder; others write it too, theirs stays."""
    stem = _stem(path)
    with contextlib.suppress(OSError):  # another writer was faster
        for name in os.listdir(path.parent):
            found = _UNFINISHED.fullmatch(name, len(stem)) if name.startswith(stem) else None
            if found and _is_left(path.with_name(name), found["host"], int(found["process"])):
                _remove(path.with_name(name))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_left(unfinished: Path, host: str, process: int) -> bool:
    """Whether nobody is writing it: its process is gone or, where nobody can tell, it is old."""
    if time.time() - unfinished.stat().st_mtime > _DAY:
        return True
    if host != _host() or os.name == "nt":  # where os.kill(process, 0) is Ctrl-C
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False


def _sync_folder(folder: Path) -> None:
    """Make a new name in it outlast a power cut."""
    with contextlib.suppress(OSError):  # not every system can, and the file is there all the same
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
