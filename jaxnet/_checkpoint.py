"""A training run on disk: all that it needs to go on, to the same bits, in one file."""

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxnet._devices import on_host
from jaxnet._files import read_npz, write_npz

FILE = "checkpoint.npz"
DIGITS = 64  # of a digest
# name -> what it was when the run began: text, a number, or the digest of arrays
Facts: TypeAlias = Mapping[str, Any]


class Saved(NamedTuple):
    """A run between two of its segments."""

    state: Any
    measured: list[NDArray[np.floating[Any]]]  # of the epochs that are done, an array per criterion
    position: int  # steps
    seconds: float


class Checkpoint:
    """The file in a folder in which a run is saved.

    facts: what the run is; a file in which they are others is of another run.
    """

    def __init__(self, folder: str | os.PathLike[str], seconds: float, facts: Facts) -> None:
        self.path = Path(folder) / FILE
        self.seconds = seconds
        self.facts = facts
        self.last = time.monotonic()

    # SIGTERM is what a cluster sends to a job whose time is over.
    signals = signal.SIGINT, signal.SIGTERM

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self.last >= self.seconds

    def load(self, start: Saved) -> Saved:
        """The run as it was saved; start where there is no file yet, and then its room is tried.

        start: arrays of the same shapes, at the same places.
        """
        if not self.path.exists():
            if jax.process_index() == 0:
                self._try_room(sum(leaf.nbytes for leaf in jax.tree.leaves(start.state)))
            return start
        try:
            arrays = read_npz(self.path)
            text = json.loads(str(arrays["run"]))
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"fit: checkpoint: {self.path} cannot be read ({error}); remove it to begin anew"
            ) from error
        self._require_same(text["facts"])
        leaves, structure = jax.tree.flatten(start.state)
        return Saved(
            state=jax.tree.unflatten(
                structure, [_like(leaf, arrays[f"state.{i}"]) for i, leaf in enumerate(leaves)]
            ),
            measured=[arrays[f"measured.{i}"] for i in range(text["measured"])],
            position=text["position"],
            seconds=text["seconds"],
        )

    def save(self, run: Saved) -> None:
        """Write the run; where that fails, say so, and the file before it is left.

        Every process takes part, for each may hold arrays of its own; the first one writes.
        """
        leaves = [_numbers(leaf) for leaf in jax.tree.leaves(run.state)]
        self.last = time.monotonic()
        if jax.process_index() != 0:
            return
        text = {
            "facts": self.facts,
            "position": run.position,
            "seconds": run.seconds,
            "measured": len(run.measured),
        }
        arrays = {"run": np.array(json.dumps(text))}
        arrays |= {f"state.{i}": leaf for i, leaf in enumerate(leaves)}
        arrays |= {f"measured.{i}": values for i, values in enumerate(run.measured)}
        try:
            write_npz(self.path, arrays)
        except OSError as error:
            warnings.warn(
                f"fit: checkpoint: {self.path} could not be written ({error}); the training goes "
                f"on, and what was there before is left",
                stacklevel=2,
            )

    def require_epochs(self, done: float, epochs: int) -> None:
        """Raise ValueError where the run has had more."""
        if done > epochs:
            raise ValueError(
                f"fit: checkpoint: the run in {self.path} has {done:.1f} epochs behind it, more "
                f"than epochs={epochs}; ask for as many, or give another folder"
            )

    def tell(self, number: int, epochs: float) -> None:
        """Say what became of the run; SIGTERM ends the process, as it does everywhere."""
        name = signal.Signals(number).name
        print(
            f"fit: {name}: {epochs:.1f} epochs are saved in {self.path}; "
            f"the same call goes on from there",
            file=sys.stderr,
        )
        if number == signal.SIGTERM:
            raise SystemExit(128 + number)

    def _try_room(self, size: int) -> None:
        """Find out before the training whether the disk takes the file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path.parent) as file:
                file.write(bytes(size))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OSError(
                f"fit: checkpoint: {size} bytes cannot be written to {self.path.parent} "
                f"({error.strerror}); give a folder that can be written, with room for them"
            ) from error

    def _require_same(self, saved: Facts) -> None:
        names = dict.fromkeys([*saved, *self.facts])
        pairs = {name: (saved.get(name), self.facts.get(name)) for name in names}
        differing = [_difference(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1]]
        if differing:
            raise ValueError(
                f"fit: checkpoint: {self.path} is of another run: {'; '.join(differing)}. "
                f"Give what it was saved with, another folder, or remove it to begin anew"
            )


class NoCheckpoint:
    """Where a run is not saved."""

    signals = (signal.SIGINT,)
    is_due = False

    def load(self, start: Saved) -> Saved:
        return start

    def save(self, run: Saved) -> None: ...

    def require_epochs(self, done: float, epochs: int) -> None: ...

    def tell(self, number: int, epochs: float) -> None: ...


def checkpoint_in(
    folder: str | os.PathLike[str] | None, seconds: float, facts: Callable[[], Facts]
) -> Checkpoint | NoCheckpoint:
    """The checkpoint in a folder; facts, which take a while to find, are asked for where it is."""
    return NoCheckpoint() if folder is None else Checkpoint(folder, seconds, facts())


def digest(tree: Any) -> str:
    """Of the arrays in it, and how they lie in it."""
    leaves, structure = jax.tree.flatten(tree)
    found = hashlib.sha256(str(structure).encode())
    for leaf in map(_numbers, leaves):
        found.update(f"{leaf.dtype} {leaf.shape}".encode())
        found.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8))
    return found.hexdigest()


def _numbers(leaf: Any) -> NDArray[Any]:
    """What is to be stored of an array; keys are numbers too."""
    if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return on_host(leaf)


def _like(leaf: jax.Array, numbers: NDArray[Any]) -> jax.Array:
    """The stored numbers as an array like this one, and where it is."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        array = jax.random.wrap_key_data(jnp.asarray(numbers), impl=jax.random.key_impl(leaf))
    else:
        array = cast(Any, numbers)
    return cast(jax.Array, jax.device_put(array, leaf.sharding))


def _difference(name: str, saved: Any, now: Any) -> str:
    """In words; nobody can read a digest."""
    lengths = {len(value) for value in (saved, now) if isinstance(value, str)}
    if lengths == {DIGITS}:
        return f"{name} differs"
    return f"{name} was {saved or 'nothing'}, and is {now or 'nothing'}"
