"""What train.py is asked for."""

import argparse
import contextlib
import math
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common.compilation_cache as compilation_cache  # before jax
import optax
from common.job import BATCH_SIZE, EPOCHS, RATE, TWIN, WIDTH

import jaxnet
from jaxnet.networks import ACTIVATIONS

OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "rmsprop": optax.rmsprop,
}
SCHEDULES = {
    "constant": lambda rate, steps: rate,
    "cosine": optax.cosine_decay_schedule,
    "linear": lambda rate, steps: optax.linear_schedule(rate, 0.0, steps),
}
INITIALIZERS = {"pytorch": jaxnet.pytorch_init, "course": jaxnet.course_init}
TASKS = ("classification", "regression")
OF_A_SWEEP = 0.2  # held out for validation
OF_BOTH = {"out", "target", "compilation_cache"}
OF_COLUMNS = ("drop", "features", "categorical", "impute")
OF_PREDICTION = {"predict", "params", "id"}


def make_parser(text: str) -> argparse.ArgumentParser:
    """text: what the command is, then all the rest."""
    what, _, more = text.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=what, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", nargs="?", type=Path, default=TWIN, help="table, .npz, folder (default: the twin)")
    add("--target", metavar="COLUMN", help="the label column of a table")
    add("--task", choices=TASKS, help="classes or a number (default: by what the target holds)")
    add("--out", type=Path, default=Path("out/train"), metavar="DIR", help="(default: %(default)s)")
    add("--seed", type=int, default=0, help="of initialisation, order and split (default: 0)")
    add("--gradients", choices=("hand", "auto"), default="hand", help="(default: hand)")
    yes_or_no: dict[str, Any] = {"action": argparse.BooleanOptionalAction, "default": None}
    add("--standardize", **yes_or_no, help="(default: on, off for the report's layout)")
    add("--shuffle", **yes_or_no, help="every epoch (default: on, off for the report's layout)")
    compilation_cache.add_option(parser)
    add_columns(parser.add_argument_group("the columns of a table"))
    add_network(parser.add_argument_group("the network"))
    add_training(parser.add_argument_group("the training"))
    add_prediction(parser.add_argument_group("instead of training"))
    return parser


def add_columns(group: Any) -> None:
    several: dict[str, Any] = {"nargs": "+", "metavar": "COLUMN"}
    group.add_argument("--drop", default=[], **several, help="leave these out")
    group.add_argument("--features", **several, help="take these alone")
    group.add_argument(
        "--categorical", default=[], **several, help="take numbers for categories, as codes are"
    )
    group.add_argument(
        "--impute",
        choices=("median", "mean"),
        help="fill in missing numbers; a feature more says where (default: they are an error)",
    )


def add_network(group: Any) -> None:
    group.add_argument(
        "--hidden",
        nargs="*",
        type=int,
        default=[WIDTH],
        metavar="N",
        help=f"hidden sizes (default: {WIDTH})",
    )
    group.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="(default: relu)")
    group.add_argument(
        "--norm", choices=("none", "layer", "rms"), default="none", help="before it (default: none)"
    )
    group.add_argument(
        "--dropout", type=float, default=0.0, metavar="RATE", help="after it (default: 0)"
    )
    group.add_argument(
        "--init", choices=INITIALIZERS, default="pytorch", help="initialisation (default: pytorch)"
    )


def add_training(group: Any) -> None:
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="(default: sgd)")
    group.add_argument(
        "--rate", type=float, default=RATE, help="learning rate (default: %(default)s)"
    )
    group.add_argument(
        "--rates", type=float, nargs="+", metavar="RATE", help="train with each of these, at once"
    )
    group.add_argument(
        "--runs", type=int, default=1, metavar="N", help="... and with N seeds (default: 1)"
    )
    group.add_argument(
        "--schedule", choices=SCHEDULES, default="constant", help="of the rate (default: constant)"
    )
    group.add_argument(
        "--loss", choices=("squared", "huber"), help="of a regression (default: squared)"
    )
    group.add_argument("--epochs", type=int, default=EPOCHS, help="(default: %(default)s)")
    group.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="ROWS", help="(default: %(default)s)"
    )
    group.add_argument(
        "--validation",
        type=float,
        metavar="FRACTION",
        help="hold out a part of the training rows, and keep the epoch that is best on it "
        f"(default: 0, of several runs {OF_A_SWEEP})",
    )
    group.add_argument(
        "--patience", type=int, metavar="EPOCHS", help="stop after so many that were not better"
    )
    group.add_argument(
        "--checkpoint",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="save the run in --out while it trains, and go on from there (default: on)",
    )
    group.add_argument(
        "--class-weights",
        choices=("none", "balanced"),
        default="none",
        help="balanced: all classes count the same together, in the loss (default: none)",
    )


def add_prediction(group: Any) -> None:
    group.add_argument("--predict", type=Path, metavar="NEW.csv", help="predict these rows ...")
    group.add_argument("--params", type=Path, metavar="NPZ", help="... with this network")
    group.add_argument("--id", metavar="COLUMN", help="copy this column to the predictions")


@contextlib.contextmanager
def warnings_in_words() -> Iterator[None]:
    """What the library warns of is said as the command says things, without its line of code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"train.py: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def parse(text: str) -> argparse.Namespace:
    parser = make_parser(text)
    args = parser.parse_args()
    if (args.predict is None) != (args.params is None):
        parser.error("--predict NEW.csv and --params NPZ go together")
    unused = given(parser, args) - OF_BOTH - OF_PREDICTION
    if args.predict is not None and unused:
        parser.error(f"{named(unused)}: for training, --predict does not use it; leave it out")
    if args.predict is None and args.id is not None:
        parser.error("--id: for --predict, training does not use it; leave it out")
    decide_sweep(parser, args)
    require_columns(parser, args)
    require_network(parser, args)
    require_training(parser, args)
    return args


def require_columns(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.drop and args.features:
        parser.error("--drop and --features: give one of them")
    for option in ("drop", "features", "categorical"):
        for name in getattr(args, option) or ():
            if args.data is TWIN and Path(name).exists():
                parser.error(f"--{option} took {name} for a column; FILE comes first")


def require_network(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if any(n < 1 for n in args.hidden):
        parser.error(f"--hidden takes positive sizes, got {args.hidden}")
    if not 0 <= args.dropout < 1:
        parser.error(f"--dropout takes the probability to drop, in [0, 1), got {args.dropout}")


def require_training(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for rate in args.rates or [args.rate]:
        if not 0 < rate < math.inf:
            parser.error(f"--rate must be a positive number, got {rate}")
    if args.runs < 1:
        parser.error(f"--runs takes a positive number of seeds, got {args.runs}")
    if not 0 <= args.validation < 1:
        parser.error(f"--validation takes a fraction, in [0, 1), got {args.validation}")
    if args.patience is not None and not args.validation:
        parser.error("--patience needs a validation set; give --validation 0.2, say")


def decide_sweep(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """What args leave open of validation, in place."""
    rates = args.rates or ()
    if rates and "rate" in given(parser, args):
        parser.error("--rate and --rates: give one of them")
    if len(set(rates)) < len(rates):
        parser.error(f"--rates takes different rates, got {rates}")
    if args.validation is None:
        args.validation = OF_A_SWEEP if is_sweep(args) else 0.0
    if is_sweep(args) and not args.validation:
        parser.error("--validation 0: runs are ranked by validation; give a fraction, such as 0.2")


def is_sweep(args: argparse.Namespace) -> bool:
    return args.runs > 1 or args.rates is not None


def given(parser: argparse.ArgumentParser, args: argparse.Namespace) -> set[str]:
    """The arguments that the command line holds, be they as the defaults or not."""
    not_given = object()  # argparse sets a default where there is no value yet; but always FILE's
    found = parser.parse_args(namespace=argparse.Namespace(**dict.fromkeys(vars(args), not_given)))
    return {
        name for name, value in vars(found).items() if value is not not_given and value is not TWIN
    }


def named(arguments: set[str]) -> str:
    as_typed = {name: f"--{name.replace('_', '-')}" for name in arguments} | {"data": "FILE"}
    return ", ".join(sorted(as_typed[name] for name in arguments))
