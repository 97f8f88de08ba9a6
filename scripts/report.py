"""Re-make the course report that this library began with: one HTML page, figures, metrics.json.

On the twin in data/ unless --data names another folder of the same layout. PyTorch's side comes
from the recorded histories of the twin, or live with --torch. The defaults take about a minute.
"""

import argparse
import importlib.util
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common.compilation_cache as compilation_cache  # before jax
import jax
from common.job import FILES, TWIN
from reporting import figures, results, sources
from reporting.page import page
from reporting.runs import run_all
from reporting.sources import PyTorch, Source

import jaxnet
from jaxnet._files import write_whole
from jaxnet.plotting import png


def parse(arguments: list[str] | None) -> tuple[argparse.Namespace, Source]:
    """The options and the data, or an end with a message."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=TWIN, metavar="DIR", help=f"folder with {', '.join(FILES)}"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/report"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--seeds", type=int, default=8, help="networks per configuration (default: %(default)s)"
    )
    parser.add_argument(
        "--torch", action="store_true", help="run PyTorch live: 4 networks per seed, seconds each"
    )
    compilation_cache.add_option(parser)
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected at least 1")
    if options.torch and importlib.util.find_spec("torch") is None:
        parser.error(
            "--torch needs PyTorch, which is not installed: pip install torch, or leave --torch out"
        )
    if any(path.exists() and not path.is_dir() for path in (options.out, *options.out.parents)):
        parser.error(f"--out is {options.out}, where there is a file; expected a folder")
    try:
        return options, sources.read(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data: {error}")


def main(arguments: list[str] | None = None) -> None:
    options, source = parse(arguments)
    compilation_cache.use(options.compilation_cache)
    # The report's figures are about digits: a GPU would multiply float32 in TF32, with ten bits.
    # For the whole process, as a context would not reach the threads that train the wrong rules.
    jax.config.update("jax_default_matmul_precision", "highest")
    signal.signal(signal.SIGINT, interrupt)
    command = ["python", "scripts/report.py", *(sys.argv[1:] if arguments is None else arguments)]
    try:
        found, images = make(source, options, shlex.join(command))
    except jaxnet.NonFiniteLoss as error:
        raise SystemExit(
            f"report.py: with the report's settings training diverges on these data: {error}"
        ) from None
    metrics = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    content = {
        **{f"{name}.png": image for name, image in images.items()},
        "metrics.json": metrics,
        "index.html": page(found, images),  # the page last
    }
    # A moment, in which the files are put in place.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name, written in content.items():
        write_whole(options.out / name, written)
    print(f"{options.out / 'index.html'}\n{found['finding']}")


def interrupt(*_: object) -> None:
    """On Ctrl-C: end here and now, when nothing is written yet.

    An exception could pass through a compiler at work.
    """
    print("\nreport.py: interrupted; nothing was written", file=sys.stderr, flush=True)
    os._exit(130)


def make(
    source: Source, options: argparse.Namespace, command: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What metrics.json holds, and the figures as PNG, by name."""
    began = time.perf_counter()

    def say(stage: str) -> None:
        print(f"{time.perf_counter() - began:5.1f} s  {stage}", flush=True)

    pytorch = find_pytorch(source, options, say)
    runs = run_all(source.data, options.seeds, say)
    found = results.measure(source, runs, pytorch, options.seeds)
    drawn = figures.draw_all(source, runs, pytorch, options.seeds)
    images = {name: png(figure) for name, figure in drawn.items()}
    say(f"{len(images)} figures drawn")
    seconds = round(time.perf_counter() - began, 1)
    return found | {"command": command, "seconds": seconds}, images


def find_pytorch(
    source: Source, options: argparse.Namespace, say: Callable[[str], None]
) -> PyTorch | None:
    if options.torch:
        pytorch = sources.live_pytorch(source.data, options.seeds)
    else:
        pytorch = sources.recorded_pytorch(source.digests, options.seeds)
    label = pytorch.label if pytorch else "PyTorch itself neither run nor recorded"
    say(f"data: {source.name}; {label}")
    return pytorch


if __name__ == "__main__":
    main()
