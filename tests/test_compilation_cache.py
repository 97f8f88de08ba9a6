"""What one run compiles the next one finds, and nothing that befalls the folder does harm."""

import atexit
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest
import report
import train
from common import compilation_cache
from common.compilation_cache import index_of

import jaxnet

ROOT = Path(jaxnet.__file__).parents[1]
# A small run, and how often each event of JAX's cache came.
JOB = """
import collections, json
import common.compilation_cache
import jax, optax
import jaxnet

common.compilation_cache.use()
{meanwhile}
events = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: events.update([name.split("/")[-1]]))
data = jaxnet.datasets.load("data/course_twin")
params = jaxnet.init_mlp(jax.random.key(0), (10, 4, 2))
_, history = jaxnet.fit(
    jaxnet.mlp, params, train=data.train, epochs=2, batch_size=64, optimizer=optax.sgd(0.1),
    progress=False,
)
print(json.dumps([events, history.train_loss.tolist()]))
"""


def start(cache, meanwhile="", **environment):
    settings = {
        "XDG_CACHE_HOME": str(cache),
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "scripts")]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", JOB.format(meanwhile=meanwhile)],
        cwd=ROOT,
        env=os.environ | settings | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    """Events, losses, and what was said on stderr."""
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    return *json.loads(output), errors


def folder_in(cache):
    return cache / "jaxnet" / "compiled"


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache after one run, and what that run found."""
    cache = tmp_path_factory.mktemp("filled") / "of" / "a user"
    return cache, end(start(cache))


@pytest.fixture
def cache(filled, tmp_path):
    """A copy of it, to do something to."""
    return shutil.copytree(filled[0], tmp_path / "cache")


def test_the_second_run_compiles_nothing(filled):
    cache, (first, losses, _) = filled
    assert first["cache_misses"] == first["compile_requests_use_cache"] > 3
    second, same_losses, errors = end(start(cache))
    assert second["cache_hits"] == second["compile_requests_use_cache"]
    assert "cache_misses" not in second
    assert second["compile_requests_use_cache"] == first["compile_requests_use_cache"]
    assert same_losses == losses
    assert not errors


def truncate(entry):
    entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2])


def flip(entry):
    contents = bytearray(entry.read_bytes())
    contents[len(contents) // 2] ^= 1
    entry.write_bytes(contents)


def empty(entry):
    entry.write_bytes(b"")


def forbid(entry):
    entry.chmod(0)


def make_folder(entry):
    entry.unlink()
    entry.mkdir()


def test_a_damaged_entry_is_compiled_anew_and_replaced(filled, cache):
    entries = sorted(folder_in(cache).iterdir())
    assert len(entries) > 3
    for damage, entry in zip((truncate, flip, empty, forbid), entries, strict=False):
        damage(entry)
    events, losses, errors = end(start(cache))
    assert events["cache_misses"] >= 3  # whoever is root may read what is forbidden
    assert losses == filled[1][1]
    assert not errors
    whole = index_of(folder_in(cache)).read_text().splitlines()
    assert sorted(map(compilation_cache.line_of, entries)) == sorted(whole)


def test_what_is_damaged_during_a_run_costs_warnings_and_is_removed(filled, cache):
    folder = folder_in(cache)
    meanwhile = f"""
import pathlib
first, *others = pathlib.Path({str(folder)!r}).iterdir()
first.unlink(), first.mkdir()
for other in others: other.write_bytes(other.read_bytes()[:-5])
"""
    events, losses, errors = end(start(cache, meanwhile))
    assert "cache_hits" not in events
    assert losses == filled[1][1]
    assert errors.count("UserWarning: Error reading persistent compilation cache entry") > 3
    assert "Traceback" not in errors
    assert not any(path.is_file() for path in folder.iterdir())


def test_two_runs_at_once_do_no_harm(filled, tmp_path):
    for process in [start(tmp_path), start(tmp_path)]:
        _, losses, errors = end(process)
        assert losses == filled[1][1]
        assert "Traceback" not in errors


@pytest.mark.parametrize("index", [b"", b"\xff\n\n{"])
def test_without_an_index_every_entry_is_removed(cache, index):
    folder = folder_in(cache)
    index_of(folder).write_bytes(index)
    (folder / "in the way").mkdir()
    assert compilation_cache.remove_damaged(folder) == {}
    assert [path.name for path in folder.iterdir()] == ["in the way"]


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """JAX's settings, as if the cache were on, and no folder named yet."""
    names = [name for name in jax.config.values if "_cache_" in name or name.endswith("_cache")]
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(atexit, "register", lambda *_: None)
    yield lambda: {name: getattr(jax.config, name) for name in names}
    for name, value in before.items():
        jax.config.update(name, value)


def test_the_folder_is_made_where_it_is_missing(settings, tmp_path):
    compilation_cache.use()
    assert settings()["jax_compilation_cache_dir"] == str(folder_in(tmp_path))
    assert not list(folder_in(tmp_path).iterdir())


def test_without_a_folder_to_write_to_there_is_no_cache(settings, tmp_path, monkeypatch):
    before = settings()
    with monkeypatch.context() as readonly:
        readonly.setattr(os, "access", lambda path, mode: False)
        compilation_cache.use()
        assert settings() == before
    folder_in(tmp_path).rmdir()
    folder_in(tmp_path).touch()
    compilation_cache.use()
    assert settings() == before


@pytest.mark.parametrize(
    ("name", "value"),
    [("jax_enable_compilation_cache", False), ("jax_compilation_cache_dir", "/theirs")],
)
def test_what_the_user_has_set_holds(settings, tmp_path, name, value):
    jax.config.update(name, value)
    before = settings()
    compilation_cache.use()
    assert settings() == before
    assert not list(tmp_path.iterdir())


def test_no_cache_at_all(settings, tmp_path):
    jax.config.update("jax_compilation_cache_dir", "/theirs")
    compilation_cache.use(False)
    assert not settings()["jax_enable_compilation_cache"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [train, report])
@pytest.mark.parametrize(("options", "wanted"), [([], True), (["--no-compilation-cache"], False)])
def test_the_commands_use_it_unless_told_otherwise(command, options, wanted, monkeypatch):
    class Used(Exception):
        pass

    def use(wanted):
        raise Used(wanted)

    monkeypatch.setattr(compilation_cache, "use", use)
    monkeypatch.setattr(sys, "argv", ["command", *options])
    with pytest.raises(Used) as used:
        command.main()
    assert used.value.args == (wanted,)


def test_the_oldest_entries_make_room(tmp_path, monkeypatch):
    monkeypatch.setattr(compilation_cache, "MOST_BYTES", 250)
    folder = tmp_path / "compiled"
    folder.mkdir()
    for age in range(4):
        (folder / f"{age}").write_bytes(bytes([age] * 100))
        os.utime(folder / f"{age}", (0, 1e9 - age))
    compilation_cache.remove_oldest(folder, {})
    assert sorted(path.name for path in folder.iterdir()) == ["0", "1"]
    assert list(compilation_cache.remove_damaged(folder)) == ["0", "1"]


@pytest.mark.parametrize(
    ("platform", "xdg", "expected"),
    [
        ("linux", "", "home/.cache"),
        ("linux", "elsewhere", "elsewhere"),
        ("darwin", "", "home/Library/Caches"),
    ],
)
def test_the_folder_is_the_users(platform, xdg, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / xdg) if xdg else "")
    assert compilation_cache.user_folder() == tmp_path / expected / "jaxnet" / "compiled"
