"""What train.py writes: of one run, whatever befalls it, and never lost."""

import errno
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

import pytest
from training import generation, results

USERS = {"notes.txt": "mine", "predictions.csv": "mine"}


class KilledError(BaseException):
    pass


def writers(run, names=("params.npz", "history.csv", "metrics.json")):
    def writer(path):
        path.parent.mkdir(exist_ok=True)
        path.write_text(run)

    return dict.fromkeys(names, writer)


def found(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def of(run, *names):
    return dict.fromkeys(names or ("params.npz", "history.csv", "metrics.json"), run)


@pytest.fixture
def out(tmp_path):
    """A folder with the results of a run, one more than others have, and files of the user's."""
    folder = tmp_path / "deep" / "out"
    generation.put(folder, writers("old", ("params.npz", "history.csv", "sweep.csv")))
    for name, text in USERS.items():
        (folder / name).write_text(text)
    return folder


OLD = of("old", "params.npz", "history.csv", "sweep.csv")


def test_results_take_the_place_of_all_of_the_run_before(out):
    assert found(out) == OLD | USERS
    generation.put(out, writers("new"))
    assert found(out) == of("new") | USERS
    assert {path.name for path in out.iterdir()} == found(out).keys()


def killed_at(step, monkeypatch, action):
    """Do it until its change number `step` to the names in a folder; whether it came so far."""
    left = [step]

    def counted(change):
        def at_last(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return change(*args, **kwargs)

        return at_last

    with monkeypatch.context() as patch:
        for name in ("unlink", "rename", "replace", "rmdir", "write_text"):
            patch.setattr(Path, name, counted(getattr(Path, name)))
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # the killed clean nothing up
        try:
            action()
        except KilledError:
            return True
    return False


def test_whoever_is_killed_at_any_moment_leaves_files_of_one_run_and_loses_nothing(
    out, monkeypatch
):
    steps = 0
    while killed_at(steps, monkeypatch, lambda: generation.put(out, writers("new"))):
        seen = set(found(out).items()) - set(USERS.items())
        assert seen <= set(OLD.items()) or seen <= set(of("new").items())
        if steps % 2:  # the next command is killed too
            killed_at(2, monkeypatch, lambda: generation.recover(out))
        generation.recover(out)
        assert found(out) in (OLD | USERS, of("new") | USERS)
        generation.put(out, writers("old", OLD))
        steps += 1
    assert steps > 10
    assert found(out) == of("new") | USERS


def test_of_two_writers_at_once_one_is_the_last(out):
    def write(run):
        for _ in range(30):
            generation.put(out, writers(run))

    threads = [threading.Thread(target=write, args=(run,)) for run in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found(out) in (of("a") | USERS, of("b") | USERS)
    assert {path.name for path in out.iterdir()} == found(out).keys()


def test_what_was_trained_survives_a_full_disk(out, tmp_path, monkeypatch):
    def write(path):
        if path.is_relative_to(out):
            raise OSError(errno.ENOSPC, "No space left on device")
        writers("new")["params.npz"](path)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match="No space left on device; the results are in") as raised:
        results.put(out, writers("new") | {"params.npz": write})
    assert found(out) == OLD | USERS
    assert found(Path(str(raised.value).rpartition(" ")[2])) == of("new")


def test_where_nothing_can_be_written_is_known_before(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(NotADirectoryError, match=r"file is a file; give a folder"):
            results.require_room(out, 10)
    results.require_room(tmp_path / "new" / "deep", 3 * 2**20)
    assert {path.name for path in tmp_path.iterdir()} == {"file"}

    class Full:
        def __init__(self, **_):
            self.room = 2**20

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def write(self, content):
            self.room -= len(content)
            if self.room < 0:
                raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    results.require_room(tmp_path, 2**20)
    with pytest.raises(OSError, match="No space left on device; give a folder to write into"):
        results.require_room(tmp_path, 2**20 + 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_until_all_is_written(number, capsys):
    before = signal.getsignal(number)
    written = []

    def write():
        with results.finished_first():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            written.append("all")

    with pytest.raises(SystemExit) as stopped:
        write()
    assert stopped.value.code == 128 + number
    assert written == ["all"]
    assert "stopped, after all was written" in capsys.readouterr().err
    assert signal.getsignal(number) is before
