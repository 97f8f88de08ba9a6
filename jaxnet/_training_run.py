"""A training run: the loop on the host that calls the compiled program, a segment at a time.

Between two segments the host shows progress, saves, and stops on a signal or where every run has
ended.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from jaxnet._checkpoint import Checkpoint, NoCheckpoint, Saved
from jaxnet._devices import agreed, on_host
from jaxnet._programs import program
from jaxnet._progress import progress_display, stop_on
from jaxnet._training_program import (
    NOWHERE,
    Given,
    Position,
    Recipe,
    State,
    buffer_epochs,
    segment,
    steps_of_epoch,
)
from jaxnet._training_step import Set

# What the steps of a segment take: long enough to hide that a call costs about a millisecond,
# short enough to stop at once.
SEGMENT_SECONDS = 0.2
# How long a step takes is not known before, and the first may have been compiled: segments start
# with one step and grow at most by so much.
GROWTH = 64


class Outcome(NamedTuple):
    """What a run came to."""

    state: State
    measured: list[NDArray[np.floating[Any]]]  # [epochs, ...] or [epochs, runs, ...] each
    seconds: float
    interrupted: bool


def run_epochs(
    recipe: Recipe,
    sets: Sequence[Set],
    given: Given,
    state: State,
    *,
    epochs: int,
    began: float,
    progress: bool,
    checkpoint: Checkpoint | NoCheckpoint,
) -> Outcome:
    """Train on the first of sets and measure all of them after every epoch; state is donated.

    Ends where the epochs are done, a signal comes or every run has ended.
    began: the time.perf_counter() from which its seconds count.
    Raises SystemExit after SIGTERM, to which a run with a checkpoint listens.
    """
    compiled = program(segment, (recipe,), state, sets, given, NOWHERE, NOWHERE, donate=True)

    def segments(state: State, first: Position, stop: Position) -> Any:
        return compiled(state, sets, given, first, stop)

    steps = steps_of_epoch(recipe, sets)
    run = checkpoint.load(Saved(state, [], position=0, seconds=time.perf_counter() - began))
    loaded = run.position
    checkpoint.require_epochs(run.position / steps, epochs)
    length, stopped, idle = 1, False, 0.0
    with stop_on(*checkpoint.signals) as came, progress_display(epochs, progress) as show:
        while run.position < epochs * steps and not _has_ended(run) and not stopped:
            run, length = _go_on(segments, run, length, steps, epochs, idle)
            if not idle:
                run, idle = _without_a_step(segments, run, steps)
            length, stopped, due = agreed(length, bool(came), checkpoint.is_due)
            show(run.position / steps, run.measured[0])
            if due and not stopped:
                checkpoint.save(run)

    if run.position > loaded:
        checkpoint.save(run)
    if came:
        checkpoint.tell(came[0], run.position / steps)
    measured = _of_epochs(run.measured, on_host(run.state.epochs))
    return Outcome(run.state, measured, run.seconds, stopped)


def _has_ended(run: Saved) -> bool:
    return bool(on_host(run.state.ended).all())


def _without_a_step(segments: Callable[..., Any], run: Saved, steps: int) -> tuple[Saved, float]:
    """The run as it is, and the seconds of a call that does nothing.

    It draws the order of all rows, as every call does. A million rows take a second of that: did it
    count as a step, segments would shrink to one, and each step would pay for it.
    """
    start = time.perf_counter()
    here = _position(run.position, steps)
    state, buffer = segments(run.state, here, here)
    jax.tree.map(np.asarray, buffer)  # waits for it
    return run._replace(state=state), time.perf_counter() - start


def _go_on(
    segments: Callable[..., Any], run: Saved, length: int, steps: int, epochs: int, idle: float
) -> tuple[Saved, int]:
    """The run after a segment of at most so many steps, and how long the next one should be.

    idle: the seconds that a segment takes without a step.
    """
    start = time.perf_counter()
    axis = run.state.ended.ndim  # of the epochs in what a segment returns
    room = buffer_epochs(values.shape[1 + axis :] for values in run.measured)
    begin, end = run.position, _end_of_segment(run.position, length, steps, epochs, room)
    state, buffer = segments(run.state, _position(begin, steps), _position(end, steps))
    measured = _longer(run.measured, buffer, axis, end // steps - begin // steps)
    seconds = time.perf_counter() - start
    of_steps = max(seconds - idle, seconds / GROWTH)
    length = int(min(SEGMENT_SECONDS * (end - begin) / of_steps, GROWTH * (end - begin)))
    return Saved(state, measured, end, run.seconds + seconds), max(1, length)


def _position(step: int, steps: int) -> Position:
    return Position(*np.array(divmod(step, steps), np.int32))


def _end_of_segment(begin: int, length: int, steps: int, epochs: int, room: int) -> int:
    """At the end of an epoch where it is within reach: what is trained is then what is measured."""
    end = min(begin + length, epochs * steps, (begin // steps + room) * steps)
    whole = end // steps * steps
    return whole if whole > begin else end


def _longer(
    measured: list[NDArray[Any]], buffer: Sequence[jax.Array], axis: int, epochs: int
) -> list[NDArray[Any]]:
    """What was measured, with the first epochs of the buffer after it."""
    new = [np.moveaxis(np.asarray(values), axis, 0)[:epochs] for values in buffer]
    before = measured or [values[:0] for values in new]
    return [np.concatenate(pair) for pair in zip(before, new, strict=True)]


def _of_epochs(measured: list[NDArray[Any]], epochs: NDArray[Any]) -> list[NDArray[Any]]:
    """What was measured, up to the last of epochs; NaN where one of several runs had ended."""
    measured = [values[: epochs.max()] for values in measured]
    if epochs.ndim:
        for values in measured:
            values[np.arange(len(values))[:, None] >= epochs] = np.nan
    return measured
