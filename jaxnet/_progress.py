"""What a person sees of a long run, and how Ctrl-C ends it."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets the event; a second Ctrl-C raises KeyboardInterrupt as usual.

    An exception amid a compiled call would lose everything, for the call has donated its arguments.
    """
    interrupted = threading.Event()
    # Only the main thread may set a handler, and a handler of the user's own is left alone.
    ours_to_handle = (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours_to_handle:
        yield interrupted
        return

    def handler(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupted.set()

    signal.signal(signal.SIGINT, handler)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def progress_display(epochs: int, wanted: bool) -> Iterator[Callable[[int, float], None]]:
    """show(epochs done, loss) on stderr: a bar on a terminal after two seconds, gone at the end.

    Where stderr is no terminal, a line of a log every ten seconds.
    """
    start = time.perf_counter()
    terminal = sys.stderr.isatty()
    interval = 0.2 if terminal else 10.0
    last_shown = start + (2.0 if terminal else 0.0)
    bar = ""

    def show(done: int, loss: float) -> None:
        nonlocal last_shown, bar
        now = time.perf_counter()
        if not wanted or now - last_shown < interval:
            return
        last_shown = now
        left = (now - start) / done * (epochs - done)
        text = f"epoch {done}/{epochs}  train loss {loss:.4g}  {left:.0f} s left"
        if terminal:
            filled = 30 * done // epochs
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
