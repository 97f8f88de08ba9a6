"""The results of a run are put in place together: a folder never holds files of two runs.

All are written into a folder of their own first, which takes the name READY when it is complete.
From then on nothing is lost: the files of the run before are removed, the folder becomes MOVING,
its files move to their places. Whoever is killed meanwhile leaves the rest to the next command
that looks there; a file may be missing until then, but what is there is of one run. The user's own
files in the folder are never touched.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from jaxnet._files import remove_leftovers, unfinished_name

RESULTS = ("params.npz", "history.csv", "history.png", "metrics.json", "sweep.csv", "sweep.png")
READY, MOVING = ".results.ready", ".results.moving"


def put(out: Path, writers: Mapping[str, Callable[[Path], None]]) -> None:
    """Write the results of a run, in place of those that are in the folder out.

    writers: by the name of a file, what writes it.
    """
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out / ".results")
    folder = unfinished_name(out / ".results")
    try:
        for name, write in writers.items():
            write(folder / name)
        with alone(out):
            complete(out)
            folder.rename(out / READY)
            complete(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def recover(out: Path) -> None:
    """Put in place what a killed process had ready."""
    if (out / READY).exists() or (out / MOVING).exists():
        with alone(out):
            complete(out)


def complete(out: Path) -> None:
    ready, moving = out / READY, out / MOVING
    if ready.exists():
        for name in RESULTS:
            (out / name).unlink(missing_ok=True)
        ready.rename(moving)
    if moving.exists():
        for path in moving.iterdir():
            path.replace(out / path.name)
        moving.rmdir()


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """No other process is in such a block of this folder; a killed one is in it no longer."""
    handle = None
    with contextlib.suppress(ImportError, OSError):  # not every system, or file system, has locks
        import fcntl

        handle = os.open(out, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)
