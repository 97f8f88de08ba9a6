"""What a person sees of a long run, and how Ctrl-C ends it."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


@contextlib.contextmanager
def stop_on(*signals: signal.Signals) -> Iterator[list[int]]:
    """What has come of the signals, which then end nothing by themselves; a second one does.

    An exception amid a compiled call would lose everything, for the call has donated its arguments.
    """
    came: list[int] = []
    # Only the main thread may set a handler, and a handler of the user's own is left alone.
    is_main = threading.current_thread() is threading.main_thread()
    ours = [s for s in signals if is_main and signal.getsignal(s) in _DEFAULTS]
    before = {s: signal.getsignal(s) for s in ours}

    def restore() -> None:
        for s, handler in before.items():
            signal.signal(s, handler)

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        restore()

    for s in ours:
        signal.signal(s, note)
    try:
        yield came
    finally:
        restore()


@contextlib.contextmanager
def progress_display(epochs: int, wanted: bool) -> Iterator[Callable[[float, NDArray[Any]], None]]:
    """show(epochs done, their training losses) on stderr: a bar on a terminal, gone at the end.

    It comes after two seconds. Where stderr is no terminal, a line of a log every ten seconds.
    """
    start = time.perf_counter()
    terminal = sys.stderr.isatty()
    interval = 0.2 if terminal else 10.0
    last_shown = start + (2.0 if terminal else 0.0)
    bar = ""

    def show(done: float, losses: NDArray[Any]) -> None:
        nonlocal last_shown, bar
        now = time.perf_counter()
        if not wanted or now - last_shown < interval:
            return
        last_shown = now
        loss = f"train loss {np.mean(losses[-1]):.4g}  " if len(losses) else ""
        left = (now - start) / done * (epochs - done)
        text = f"epoch {int(done)}/{epochs}  {loss}{left:.0f} s left"
        if terminal:
            filled = int(30 * done / epochs)
            # As wide as the bar before it, of which nothing may be left beside the new one.
            bar = f"\r[{'#' * filled}{'.' * (30 - filled)}] {text}".ljust(len(bar))
            sys.stderr.write(bar)
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    try:
        yield show
    finally:
        if bar:
            sys.stderr.write("\r" + " " * len(bar) + "\r")
