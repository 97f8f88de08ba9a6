"""Files are found whole or not at all, whatever befalls those who write them."""

import contextlib
import errno
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnet import _files
from jaxnet._files import open_whole, read_npz, write_npz, write_whole

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b.weight": np.array(["x", "yz"]), "c": np.int32(3)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_text_and_bytes_are_written_into_a_new_folder_and_over_an_old_file(tmp_path):
    path = tmp_path / "new" / "deep" / "file.txt"
    write_whole(path, "é")
    assert path.read_bytes() == b"\xc3\xa9"
    write_whole(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file.txt"]
    (tmp_path / "other").write_text("")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("where", ["in the block", "fsync", "replace"])
def test_a_failure_keeps_the_old_file_and_leaves_nothing(where, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def write():
        with open_whole(path) as file:
            file.write(b"ne")
            if where == "in the block":
                full()

    if where != "in the block":
        monkeypatch.setattr(os, where, full)
    with pytest.raises(OSError, match="No space"):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_file_and_folder_are_synced_before_and_after_the_name_changes(tmp_path, monkeypatch):
    events, fsync, replace = [], os.fsync, os.replace

    def synced(handle):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    write_whole(tmp_path / "file", "text")
    assert events == ["file", "replace", "folder"]


def test_what_is_no_file_keeps_its_kind(tmp_path):
    write_whole(tmp_path / "target", "old")
    (tmp_path / "link").symlink_to("target")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "new"
    write_whole("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path / "folder", "text")
    assert names(tmp_path) == ["folder", "link", "target"]


KILLED = """
import os, sys
from jaxnet._files import open_whole
blocks = [open_whole(name) for name in sys.argv[1:]]
for block in blocks:
    block.__enter__().write(b"half")
os._exit(1)
"""


def test_what_a_killed_process_left_goes_with_the_next_writer_of_that_file(tmp_path):
    paths = [tmp_path / name for name in ("file", "file.txt", "é" * 100)]
    killed = subprocess.Popen([sys.executable, "-c", KILLED, *paths])
    assert killed.wait() == 1
    assert len(names(tmp_path)) == 3
    host, gone = _files._host(), killed.pid
    others = {  # another process is writing them, or may be; and a file of the user's
        f"file.{host}.{os.getppid()}.1-0.unfinished",
        f"file.elsewhere.{gone}.1-0.unfinished",
        f"file.{host}.notes.unfinished",
    }
    old = f"file.elsewhere.{gone}.1-1.unfinished"
    for name in (*others, old):
        (tmp_path / name).write_text("half")
    os.utime(tmp_path / old, (time.time() - 2 * 24 * 60 * 60,) * 2)

    write_whole(paths[0], "whole")
    left = set(names(tmp_path)) - others - {"file"}
    assert len(left) == 2
    assert all(name.startswith(("file.txt.", "é")) for name in left)
    for path in paths[1:]:
        write_whole(path, "whole")
    assert set(names(tmp_path)) == others | {path.name for path in paths}


WRITER = """
import sys
from jaxnet._files import write_whole
own = sys.argv[2] * 200_000
for _ in sys.stdin:
    for _ in range(5):
        write_whole(sys.argv[1], own)
    print(flush=True)
"""


def test_two_writers_of_one_path_never_tear_each_others_file(tmp_path):
    path = tmp_path / "file"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, path, letter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for letter in "ab"
    ]
    seen = set()
    for _ in range(20):
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()
        for writer in writers:
            for _ in range(5):
                if path.exists():
                    text = path.read_text()
                    seen.add((text[0], text.count(text[0]), len(text)))
            assert writer.stdout.readline()
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert seen == {("a", 200_000, 200_000), ("b", 200_000, 200_000)}
    assert names(tmp_path) == ["file"]


def test_an_archive_is_what_numpy_writes_and_gives_its_arrays_back(tmp_path):
    write_npz(tmp_path / "ours.npz", ARRAYS)
    np.savez(tmp_path / "numpys.npz", **ARRAYS)
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpys.npz").read_bytes()
    for name in ("ours.npz", "numpys.npz"):
        found = read_npz(tmp_path / name)
        assert found.keys() == ARRAYS.keys()
        for key, array in ARRAYS.items():
            np.testing.assert_array_equal(found[key], array, strict=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int4", "float16"])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
def test_dtypes_that_numpy_does_not_know_survive(dtype, shape, tmp_path):
    array = jnp.ones(shape, dtype)
    write_npz(tmp_path / "a.npz", {"a": array})
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == {"a"}
    assert found["a"].dtype == array.dtype
    np.testing.assert_array_equal(found["a"], np.asarray(array), strict=True)


def test_no_pickle_is_written_or_read(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npz(tmp_path / "a.npz", {"a": np.array([{}])})
    assert not names(tmp_path)
    np.savez(tmp_path / "a.npz", a=np.array([{}]))
    with pytest.raises(ValueError, match=r"a\.npz: damaged, or not of arrays alone \(Object"):
        read_npz(tmp_path / "a.npz")


def test_a_damaged_archive_is_an_error_that_names_it_or_holds_the_same(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, ARRAYS | {"d": jnp.ones(2, jnp.bfloat16)})
    content, expected = path.read_bytes(), read_npz(path)
    damaged = [content[:n] for n in range(0, len(content), 50)]
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << place % 8
        damaged.append(bytes(flipped))
    refused = 0
    for bad in damaged:
        path.write_bytes(bad)
        with contextlib.suppress(ValueError):
            found = read_npz(path)
            assert found.keys() == expected.keys()
            for key, array in expected.items():
                np.testing.assert_array_equal(found[key], array, strict=True)
            continue
        refused += 1
    assert len(damaged) / 2 < refused < len(damaged)
    path.write_bytes(content[:-30])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        read_npz(path)
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "none.npz")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no array")
    assert "readme.txt" in read_npz(path)
