"""How good is that? Beside the seeds of a run stand always the same answer, and scikit-learn's."""

import argparse
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.job import Job
from training.scores import Score, in_digits, is_regression, or_none, scores_of
from training.sweep import Result

WITHOUT = "where scikit-learn is installed, a linear model and boosted trees stand beside it"


def over_seeds(found: Sequence[Result], best: Result, score: Score) -> dict[str, Any]:
    """Of the runs with the best one's rate: what they come to on the test set, as JSON holds it."""
    of_rate = [result for result in found if result.run.rate == best.run.rate]
    ended = [result for result in of_rate if np.isfinite(result.validation_loss)]
    values = np.array([result.values[f"test_{score.name}"] for result in ended])
    return {
        "rate": best.run.rate,
        "seeds": len(of_rate),
        "diverged": len(of_rate) - len(ended),
        "score": score.name,
        "median": or_none(np.median(values)),
        "least": or_none(values.min()),
        "most": or_none(values.max()),
    }


def others(args: argparse.Namespace, job: Job) -> dict[str, float | None]:
    """Scores of scikit-learn's models on the same test set, by name; none where it is missing.

    They choose nothing on rows that are held out, and so learn from these too.
    """
    try:
        models = models_of(args, job)
    except ImportError:
        return {}
    x, y = job.data.train
    if job.data.validation is not None:
        x, y = map(np.concatenate, zip(job.data.train, job.data.validation, strict=True))
    x_test, y_test = job.data.test
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of more iterations that might help
        for name, model in models.items():
            model.fit(x, y.reshape(-1))
            found[name] = or_none(model.score(x_test, y_test.reshape(-1)))  # accuracy, or R²
    return found


def models_of(args: argparse.Namespace, job: Job) -> dict[str, Any]:
    from sklearn import ensemble, linear_model
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if is_regression(job.data):
        return {
            "ridge regression": make_pipeline(StandardScaler(), linear_model.Ridge()),
            "boosted trees": ensemble.HistGradientBoostingRegressor(random_state=args.seed),
        }
    weights = {"class_weight": None if args.class_weights == "none" else args.class_weights}
    logistic = linear_model.LogisticRegression(max_iter=1000, **weights)
    trees = ensemble.HistGradientBoostingClassifier(random_state=args.seed, **weights)
    return {
        "logistic regression": make_pipeline(StandardScaler(), logistic),
        "boosted trees": trees,
    }


def in_words(job: Job, test: dict[str, Any]) -> str:
    """test: what metrics.json holds of the test set."""
    score, seeds, beside = scores_of(job.data)[0], test["seeds"], test["others"]
    ended = seeds["seeds"] - seeds["diverged"]
    ranges = f"{score.text(seeds['least'])} to {score.text(seeds['most'])}"
    lines = [f"\n{'test ' + score.title:22}{'median':>10}    least to most"]
    lines.append(f"{f'{ended} seeds':22}{score.text(seeds['median']):>10}    {ranges}")
    always = test["always"]
    answer = always.get("class") or in_digits(always["prediction"])
    for name, value in {f"always {answer}": always[score.name], **beside}.items():
        lines.append(f"{name:22.22}{score.text(value):>10}")
    return "\n".join(lines if beside else [*lines, WITHOUT])
