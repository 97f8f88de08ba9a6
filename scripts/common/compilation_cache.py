"""JAX's persistent compilation cache for the commands: what one run compiles, the next one finds.

It lies in the user's cache folder. JAX knows an entry by the program, its own version and every
feature of the processor, so that machines may share the folder. But it bounds the size only where
`filelock` is installed, and never writes an entry again: one that was cut short, or damaged later,
would cost a warning and a compilation in every run from then on. So a run begins by removing what
is not as a run has left it, and ends by removing what is oldest.

Import this before jax.
"""

import argparse
import atexit
import contextlib
import importlib.metadata
import os
import sys
import zlib
from pathlib import Path

MOST_BYTES = 32 * 2**20
PLATFORMS = {"darwin": "~/Library/Caches", "win32": "~/AppData/Local"}

# Before jax 0.12 XLA has two errors to tell of every program that it takes from the cache, where
# nothing is wrong (github.com/openxla/xla/issues/44565). The level is read when jax is imported,
# which makes it 1 where it is not set.
is_older = importlib.metadata.version("jax").startswith(("0.10.", "0.11."))
if is_older and os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def add_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-compilation-cache",
        dest="compilation_cache",
        action="store_false",
        help="compile anew, and keep nothing of it (else in the user's cache folder)",
    )


def use(wanted: bool = True) -> None:
    """Let JAX keep what it compiles, or not.

    Where the user's own settings say whether it does, or where, they hold.
    """
    import jax

    if not wanted:
        jax.config.update("jax_enable_compilation_cache", False)
    if not jax.config.jax_enable_compilation_cache or jax.config.jax_compilation_cache_dir:
        return
    try:
        folder = user_folder()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole = remove_damaged(folder)
    except (OSError, RuntimeError):  # no home
        return
    if not os.access(folder, os.W_OK):
        return
    atexit.register(remove_oldest, folder, whole)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # many take milliseconds
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")  # they have no bound


def user_folder() -> Path:
    platform = PLATFORMS.get(sys.platform, "~/.cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or platform, "jaxnet", "compiled").expanduser()


def index_of(folder: Path) -> Path:
    """The file with a line for each entry that is whole."""
    return folder.with_suffix(".txt")


def line_of(entry: Path) -> str | None:
    try:
        return f"{zlib.crc32(entry.read_bytes()):08x} {entry.name}"
    except OSError:
        return None


def remove(entry: Path) -> None:
    with contextlib.suppress(OSError):  # another run was faster, or somebody made a folder there
        entry.unlink()


def remove_damaged(folder: Path) -> dict[str, str]:
    """Returns the lines of all other entries, by name."""
    noted: set[str | None] = set()
    with contextlib.suppress(OSError):
        noted.update(index_of(folder).read_text(errors="replace").splitlines())
    whole = {}
    for entry in folder.iterdir():
        line = line_of(entry)
        if line in noted:
            whole[entry.name] = line
        else:
            remove(entry)
    return whole


def remove_oldest(folder: Path, whole: dict[str, str]) -> None:
    """Keep the newest entries for which there is room, and note how they are.

    whole: how those were that are older than this run.
    """
    with contextlib.suppress(OSError):  # where another run is at it too
        room, lines = MOST_BYTES, []
        entries = [(path.stat(), path) for path in folder.iterdir()]
        for status, entry in sorted(entries, key=lambda pair: -pair[0].st_mtime):
            room -= status.st_size
            line = line_of(entry)
            if room < 0 or line is None or line != whole.get(entry.name, line):
                remove(entry)
            else:
                lines.append(line)
        from jaxnet._files import write_whole  # its package imports jax

        write_whole(index_of(folder), "\n".join(lines))
