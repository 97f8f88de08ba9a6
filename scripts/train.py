"""Train a network on a data set of yours, and predict with it.

    python scripts/train.py
        the report's job on data/course_twin
    python scripts/train.py data/breast_cancer.csv --target diagnosis
        any table in text with a header, .npz, or folder in the report's layout
    python scripts/train.py data/breast_cancer.csv --target diagnosis --rates 0.1 0.01 --runs 8
        every rate with every seed at once, ranked on rows that are held out
    python scripts/train.py titanic.csv --target survived --runs 32
        the spread over 32 seeds, beside simpler models of scikit-learn, where that is installed
    python scripts/train.py --predict new.csv --params out/train/params.npz

Training writes metrics.json, history.csv, history.png and params.npz (parameters, scaling, feature
and class names; jaxnet.load_network reads it) into --out, together, once it has ended; of several
runs the best, and sweep.csv and sweep.png. Until then checkpoint.npz is there: Ctrl-C and SIGTERM
save it, and the same command goes on from it. Prediction writes predictions.csv: for each row of
the new file its class and every probability, or its number. Where the file has the labels too, it
prints the accuracy, or R² and the error.
"""

import argparse
import sys
from typing import Any

import common.compilation_cache as compilation_cache  # before jax
from training import baselines, options, results, sweep
from training.job import Job, fit, model_of, network_of, read_job
from training.prediction import predict
from training.scores import LOSS, Score, always_in_words, of_test, scores_of, target_in_words

import jaxnet
from jaxnet._files import write_whole

INTERRUPTED = 130  # as a shell has it of a command that Ctrl-C ended


def train(args: argparse.Namespace) -> None:
    job = read_job(args)
    show_job(args, job)
    params, history = fit(args, job)
    if history.interrupted and not history.epochs:
        sys.exit(INTERRUPTED)
    with results.finished_first():
        write(args, job, params, history)
        if not history.interrupted:
            results.remove_checkpoint(args.out)
    if history.interrupted:
        sys.exit(INTERRUPTED)


def write(args: argparse.Namespace, job: Job, params: Any, history: jaxnet.History) -> None:
    more, seeds = {}, {}
    score = scores_of(job.data)[0]
    if options.is_sweep(args):
        found = sweep.results_of(args, history)
        best = sweep.best_of(found)
        params, history = sweep.one_of(best, params, history, found[best].epochs)
        print(sweep.in_words(sweep.ranked(found, score), found[best], score))
        more = sweep_files(found, found[best], score)
    if args.runs > 1:
        seeds["seeds"] = baselines.over_seeds(found, found[best], score)
        seeds["others"] = baselines.others(args, job)
    test = of_test(job.data, model_of(args)(params, job.data.test[0])) | seeds
    results.write_results(args, network_of(args, job, params), history, test, more)
    show_end(args, job, history, test["always"], more)
    if seeds:
        print(baselines.in_words(job, test))


def sweep_files(found: list[sweep.Result], best: sweep.Result, score: Score) -> dict[str, Any]:
    from jaxnet.plotting import png

    text, picture = results.csv_text(*sweep.table(found)), png(sweep.figure(found, best, score))
    return {
        "sweep.csv": lambda path: write_whole(path, text),
        "sweep.png": lambda path: write_whole(path, picture),
    }


def show_job(args: argparse.Namespace, job: Job) -> None:
    data = job.data
    held_out = f", {len(data.validation[0])} to choose on" if data.validation else ""
    print(
        f"{args.data}: {len(data.train[0])} rows to train on{held_out}, "
        f"{len(data.test[0])} to test on"
    )
    scaled = ", standardised" if args.standardize else ""
    print(f"{len(data.features)} features{scaled}; {target_in_words(data)}")
    for remark in job.remarks:
        print(f"- {remark}")
    norm = "" if args.norm == "none" else f", {args.norm} norm"
    dropout = f", dropout {args.dropout:g}" if args.dropout else ""
    print(
        f"network {'-'.join(map(str, job.sizes))}, {args.activation}{norm}{dropout}, "
        f"gradients by {args.gradients}"
    )


def show_end(
    args: argparse.Namespace,
    job: Job,
    history: jaxnet.History,
    always: dict[str, Any],
    more: dict[str, Any],
) -> None:
    done, kept = history.epochs, results.kept(history)
    if history.interrupted:
        print(f"interrupted: what was trained in {done} of {args.epochs} epochs is saved")
    of = f"{done} epochs" if kept + 1 == done else f"epoch {kept + 1}, the best of {done}"
    scores = (LOSS, *scores_of(job.data))
    titles = "".join(f"{score.title:>12}" for score in scores)
    print(f"\n{'':10}{titles}   after {of}, {history.seconds:.2f} s")
    for name in ("train", "validation", "test"):
        if f"{name}_loss" in history.values:
            values = (history.values[f"{name}_{score.name}"][kept] for score in scores)
            texts = (score.text(value) for score, value in zip(scores, values, strict=True))
            print(f"{name:10}" + "".join(f"{text:>12}" for text in texts))
    reached = history.values[f"test_{scores[1].name}"][kept]
    print(always_in_words(job.data, always, reached))
    files = ", ".join(["metrics.json", "history.csv", "history.png", "params.npz", *more])
    print(f"\nwritten to {args.out}: {files}")


def main() -> None:
    args = options.parse(__doc__)
    compilation_cache.use(args.compilation_cache)
    try:
        with options.warnings_in_words():
            train(args) if args.predict is None else predict(args)
    except (ValueError, TypeError, OSError, RuntimeError, jaxnet.NonFiniteLoss) as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:  # before or after the training
        print("train.py: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
