"""Time the report's job, in jaxnet by hand and by autodiff, PyTorch, scikit-learn and NumPy.

The job: train a ReLU network with one hidden layer of 100 units, then one with two, by plain SGD at
rate 0.01 for 200 epochs of batches of 64 rows in the order of the file, and after every epoch take
the loss and the accuracy of both sets whole. PyTorch and scikit-learn take part where they are
installed. Takes some minutes.
"""

import argparse
import os
from pathlib import Path
from typing import Any

# OpenBLAS reads it when NumPy is imported. With more threads such small products take longer.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

from benchmarks import training
from benchmarks.contestants import CONTESTANTS
from common.job import EPOCHS, NETWORKS, TWIN

COLD_RUNS = 5
COLD_ROUNDS = 11


def measure_rules(options: argparse.Namespace) -> None:
    # They import jax, for which a cold run must not pay.
    if options.platform:
        from benchmarks import accelerator

        accelerator.run(options)
    else:
        from benchmarks import rules

        rules.run(options)


def time_cold(options: argparse.Namespace) -> None:
    from benchmarks import cold

    cold.run(options)


def measure_modes(options: argparse.Namespace) -> None:
    from benchmarks import abroad, modes

    (abroad if options.libraries else modes).run(options)


def compare_checkers(options: argparse.Namespace) -> None:
    from benchmarks import checkers

    checkers.run(options)


def count_proofs(options: argparse.Namespace) -> None:
    from benchmarks import proofs

    proofs.run(options)


def measure_scale(options: argparse.Namespace) -> None:
    from benchmarks import scale

    scale.run(options)


def compare_sweep(options: argparse.Namespace) -> None:
    from benchmarks import sweep

    sweep.run(options)


def compare_tables(options: argparse.Namespace) -> None:
    from benchmarks import tables

    tables.run(options)


def time_transposed(options: argparse.Namespace) -> None:
    from benchmarks import transposed

    transposed.run(options)


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def seeds(text: str) -> int:
    if count(text) < 2:
        raise argparse.ArgumentTypeError("1 seed has no spread; give at least 2")
    return count(text)


def counts(text: str) -> tuple[int, ...]:
    return tuple(count(word) for word in text.split(","))


def new_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file in an existing folder")
    return path


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.set_defaults(job=training.run)  # a sub-command sets another
    add_repeats(parser)
    add_json(parser)
    parser.add_argument(
        "--data",
        type=Path,
        default=TWIN,
        metavar="DIR",
        help="folder in the report's layout (default: the twin of the course's data)",
    )
    parser.add_argument("--epochs", type=count, default=EPOCHS, help=argparse.SUPPRESS)
    parser.add_argument("--cold-runs", type=count, default=COLD_RUNS, help=argparse.SUPPRESS)
    parser.add_argument(
        "--hidden", type=counts, nargs="+", default=NETWORKS, help=argparse.SUPPRESS
    )
    parser.add_argument("--cold", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--cached", action="store_true", help=argparse.SUPPRESS)

    others = parser.add_subparsers(title="or measure something else")
    add_others(others)
    add_transposed(others)
    add_sweep(others)
    add_tables(others)
    return parser


def add_rules(others: Any) -> None:
    for job, name, what in (
        (measure_rules, "rules", "what each rule gives over autodiff: digits, memory, time"),
        (measure_modes, "modes", "what forward mode by each rule costs: memory, time"),
    ):
        rules = others.add_parser(name, help=what, description=f"{what.capitalize()}.")
        rules.set_defaults(job=job)
        rules.add_argument("names", nargs="*", metavar="NAME", help="a rule; all by default")
        add_repeats(rules)
        add_json(rules)
        if name == "rules":
            add_platform(rules)
    rules.add_argument(  # of modes, the last of them
        "--libraries",
        action="store_true",
        help="instead: which calls of other libraries have forward mode by it, as installed",
    )


def add_others(others: Any) -> None:
    add_rules(others)
    cold = others.add_parser(
        "cold",
        help="the start of a process: importing, compiling",
        description="What the report's job takes in a new process: importing, and the job itself, "
        "compiled in it or by a process before. Takes some minutes.",
    )
    cold.set_defaults(job=time_cold)
    cold.add_argument("--rounds", type=count, default=COLD_ROUNDS, help="(default: %(default)s)")
    add_json(cold)

    checkers = others.add_parser(
        "checkers",
        help="which faults jaxnet.check, check_grads and allclose catch",
        description="Which faults do jaxnet.check, jax.test_util.check_grads and a plain allclose "
        "of gradients catch? Takes some minutes.",
    )
    checkers.set_defaults(job=compare_checkers)
    checkers.add_argument("--every", action="store_true", help="show every rule, not only how many")
    add_json(checkers)
    checkers.add_argument("--most", type=count, help=argparse.SUPPRESS)

    proofs = others.add_parser(
        "proofs",
        help="what jaxnet.prove proves",
        description="Which rules does jaxnet.prove prove: of this library, of the corpus, and "
        "inside of jax, optax, Flax and Equinox? Takes some minutes.",
    )
    proofs.set_defaults(job=count_proofs)
    proofs.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="a rule, or catalogue, right, wrong, jax, optax, flax, equinox; all by default",
    )
    add_json(proofs)

    scale = others.add_parser(
        "scale",
        help="how the time of an update grows",
        description="One update against rows, width, depth, seeds and devices, beside PyTorch and "
        "its own matrix products timed alone. Takes about ten minutes.",
    )
    scale.set_defaults(job=measure_scale)
    add_repeats(scale)
    add_json(scale)
    scale.add_argument("--plot", type=new_file, metavar="FILE.png", help="draw the times there")
    scale.add_argument("--seconds", type=float, default=0.2, help=argparse.SUPPRESS)
    scale.add_argument("--devices", type=counts, help=argparse.SUPPRESS)


def add_sweep(others: Any) -> None:
    sweep = others.add_parser(
        "sweep",
        help="how far a run of a sweep is from the run alone",
        description="How far is a run of a sweep from the same run alone, epoch by epoch?",
    )
    sweep.set_defaults(job=compare_sweep)
    sweep.add_argument("--epochs", type=count, default=100, help="(default: %(default)s)")
    add_json(sweep)
    sweep.add_argument("--plot", type=new_file, metavar="FILE.png", help="draw it there")


def add_tables(others: Any) -> None:
    tables = others.add_parser(
        "tables",
        help="train.py on tables of other packages, beside scikit-learn",
        description="Does train.py take tables as people have them, and how good is it beside "
        "scikit-learn? Takes half an hour; docs/tables.md says what it needs.",
    )
    tables.set_defaults(job=compare_tables)
    tables.add_argument("names", nargs="*", metavar="NAME", help="a table; all by default")
    tables.add_argument(
        "--seeds", type=seeds, default=5, metavar="N", help="each a split (default: %(default)s)"
    )
    add_json(tables)


def add_platform(rules: argparse.ArgumentParser) -> None:
    rules.add_argument(
        "--platform",
        choices=("cpu", "gpu", "tpu"),
        help="what they take there, at sizes for an accelerator, in bfloat16 too",
    )
    rules.add_argument("--divide", type=count, default=1, help=argparse.SUPPRESS)


def add_transposed(others: Any) -> None:
    transposed = others.add_parser(
        "transposed",
        help="how long the weight's gradient of a transposed convolution takes",
        description="How long does the gradient of a transposed convolution's weight take, by "
        "autodiff and by hand?",
    )
    transposed.set_defaults(job=time_transposed)
    add_repeats(transposed)
    add_json(transposed)
    transposed.add_argument("--most", type=count, help=argparse.SUPPRESS)


def add_repeats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repeats",
        type=count,
        default=7,
        metavar="N",
        help="rounds (default, and better not fewer: %(default)s)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json", type=new_file, metavar="FILE", help="write every single result there"
    )


def main(arguments: list[str] | None = None) -> None:
    # Here and in the cold processes: compiling is measured.
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    options = make_parser().parse_args(arguments)
    if options.cached:
        os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "true"
    if options.cold:
        training.run_cold(options)
    else:
        options.job(options)


if __name__ == "__main__":
    main()
