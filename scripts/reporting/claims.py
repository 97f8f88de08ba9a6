"""What the report claims, as things that can be measured.

Every threshold is here, and was fixed before a run. Epochs count from 1. An epoch that never comes
is infinity, also in a median; JSON and the page say "never".
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets import Dataset

# train_loss, train_accuracy, test_loss, test_accuracy: [seeds, epochs]
Curves = Mapping[str, NDArray[Any]]

HOLDS, IN_PART, NOT, UNTESTABLE = "holds", "in part", "does not hold", "not testable"
OTHER_DATA = "not testable (other data)"


class Limits(NamedTuple):
    slow_epochs: int = 100  # "slower in the first 100 epochs"
    high: int = 90  # percent, to be exceeded in both sets for good
    high_by: int = 50  # "above 90 % after 50 epochs"
    goal: int = 94  # percent of the test set
    similar_from: int = 175
    similar_accuracy: float = 1.0  # points between the medians
    similar_loss: float = 10.0  # percent of PyTorch's, between the medians
    overfit_rise: float = 1.0  # percent of the test loss above its minimum
    # Percent of the training loss that the test loss lies above it, for good.
    overfit_gaps: tuple[int, int] = (10, 5)
    # "After around 140" (scratch), "roughly 60" (PyTorch).
    overfit_epochs: tuple[int, int] = (140, 60)
    overfit_slack: int = 10  # epochs that "around" and "roughly" allow
    deep_high_by: int = 20  # two hidden layers, PyTorch: above 90 % within
    deep_goal_by: int = 50  # ... and 94 % after
    deep_late: int = 100  # two hidden layers, scratch: converges only after
    deep_scratch_goal_by: int = 150  # ... and 94 % after
    settled: float = 1.0  # points from the final test accuracy
    # Percent of itself that a converged training loss may still fall in the last ten epochs.
    falling: float = 1.0


LIMITS = Limits()


class Evidence(NamedTuple):
    data: Dataset
    scratch: Mapping[int, Curves]  # by number of hidden layers
    pytorch: Mapping[int, Curves]
    pytorch_label: str  # what that side really is
    gradient_error: float  # largest relative difference of hand and automatic gradients

    def sides(self, hidden: int) -> dict[str, Curves]:
        return {"scratch": self.scratch[hidden], self.pytorch_label: self.pytorch[hidden]}

    def counts(self, curves: Curves, which: str) -> NDArray[Any]:
        """Rows classified rightly, [seeds, epochs].

        Whole numbers, so that a threshold is met exactly or not.
        """
        return np.rint(curves[f"{which}_accuracy"] * self.rows(which)).astype(int)

    def rows(self, which: str) -> int:
        return len((self.data.train if which == "train" else self.data.test)[1])


class Measure(NamedTuple):
    what: str
    source: str
    values: Any  # one per seed or pair of seeds; inf is never
    unit: str = ""

    def summary(self) -> dict[str, Any]:
        values = np.asarray(self.values, float)
        numbers = {"median": np.median(values), "min": values.min(), "max": values.max()}
        words = {"what": self.what, "source": self.source, "unit": self.unit}
        return words | {key: or_never(value) for key, value in numbers.items()}


Judgement = tuple[list[Measure], str]


class Claim(NamedTuple):
    id: str
    section: str
    quote: str
    definition: str
    judge: Callable[[Evidence], Judgement]


def first_for_good(flags: NDArray[np.bool_]) -> NDArray[Any]:
    """[..., epochs] -> the first epoch from which the flag stays true; inf where it does not."""
    epochs = flags.shape[-1]
    # How many at the end are true.
    tail = np.logical_and.accumulate(flags[..., ::-1], axis=-1).sum(-1)
    return np.where(tail > 0, epochs - tail + 1.0, np.inf)


def first(flags: NDArray[np.bool_]) -> NDArray[Any]:
    """[..., epochs] -> the first epoch at which the flag is true; inf where it never is."""
    return np.where(flags.any(-1), flags.argmax(-1) + 1.0, np.inf)


def above(e: Evidence, curves: Curves, which: str, percent: float) -> NDArray[np.bool_]:
    return 100 * e.counts(curves, which) > percent * e.rows(which)


def at_least(e: Evidence, curves: Curves, which: str, percent: float) -> NDArray[np.bool_]:
    return 100 * e.counts(curves, which) >= percent * e.rows(which)


def both_high(e: Evidence, curves: Curves) -> NDArray[np.bool_]:
    return above(e, curves, "train", LIMITS.high) & above(e, curves, "test", LIMITS.high)


def or_never(epoch: Any) -> float | str:
    """For JSON, which knows no infinity."""
    return float(epoch) if np.isfinite(epoch) else "never"


def by_share(shares: list[float]) -> str:
    """shares: of the seeds for which a claim is true, one per network."""
    if min(shares) == 1:
        return HOLDS
    return IN_PART if min(shares) >= 0.5 else NOT


def by_parts(parts: list[bool]) -> str:
    if all(parts):
        return HOLDS
    return IN_PART if any(parts) else NOT


def share(flags: NDArray[np.bool_]) -> float:
    return float(np.mean(flags))


# ---- the judges: Evidence -> measures and verdict


def the_data(e: Evidence) -> Judgement:
    classes = len(e.data.classes)
    found = {
        "rows to train": e.rows("train"),
        "rows to test": e.rows("test"),
        "features": len(e.data.features),
        "classes": classes,
    }
    balanced = all(
        len(set(np.bincount(y, minlength=classes))) == 1 for _, y in (e.data.train, e.data.test)
    )
    as_said = list(found.values()) == [500, 200, 10, 2] and balanced
    return [Measure(what, "the files", value) for what, value in found.items()], by_parts([as_said])


def validated(e: Evidence) -> Judgement:
    what = (
        "largest difference of hand and automatic gradients, as a share of the largest element "
        "(replaces the claim)"
    )
    return [Measure(what, "hand, auto", e.gradient_error)], UNTESTABLE


def slower(e: Evidence, hidden: int) -> Judgement:
    scratch, pytorch = (
        c["train_loss"][:, : LIMITS.slow_epochs].mean(1) for c in e.sides(hidden).values()
    )
    excess = scratch[:, None] - pytorch
    what = "excess of scratch's mean training loss, pairs of seeds"
    measures = [Measure(what, f"scratch − {e.pytorch_label}", excess)]
    measures += [
        Measure("training loss at the end", side, c["train_loss"][:, -1])
        for side, c in e.sides(hidden).items()
    ]
    return measures, by_share([share(excess > 0)])


def stays_high(e: Evidence, hidden: int, by: int, pytorch_only: bool = False) -> Judgement:
    measures = []
    for side, curves in list(e.sides(hidden).items())[pytorch_only:]:
        epochs = first_for_good(both_high(e, curves))
        measures.append(Measure(f"above {LIMITS.high} % for good from epoch", side, epochs))
    return measures, by_share([share(m.values <= by) for m in measures])


def above_goal(e: Evidence) -> Judgement:
    measures, shares = [], []
    for side, curves in e.sides(1).items():
        final = 100 * e.counts(curves, "test")[:, -1] / e.rows("test")
        over, at = (f(e, curves, "test", LIMITS.goal)[:, -1] for f in (above, at_least))
        seeds = f"of {len(over)}"
        measures += [
            Measure("final test accuracy", side, final, "%"),
            Measure(f"seeds above {LIMITS.goal}.0 %", side, over.sum(), seeds),
            Measure(f"seeds at or above {LIMITS.goal}.0 %", side, at.sum(), seeds),
        ]
        shares.append(share(over))
    return measures, by_share(shares)


def similar(e: Evidence) -> Judgement:
    measures, accurate, lossy = [], [], []
    for which in ("train", "test"):
        accuracy, loss = accuracy_gap(e, which), loss_gap(e, which)
        measures += [accuracy, loss]
        accurate.append(np.abs(accuracy.values).max() <= LIMITS.similar_accuracy)
        close = np.abs(loss.values).max() <= LIMITS.similar_loss
        lossy.append(close and final_losses_overlap(e, which))
    return measures, by_parts([all(accurate), all(lossy)])


def accuracy_gap(e: Evidence, which: str) -> Measure:
    """In points, between the medians over the seeds, epoch by epoch."""
    counts = (e.counts(curves, which) for curves in e.sides(1).values())
    ours, theirs = (np.median(count, 0)[LIMITS.similar_from - 1 :] for count in counts)
    gap = 100 * (ours - theirs) / e.rows(which)
    what = f"{which} accuracy, gap of the medians, over epochs"
    return Measure(what, f"scratch − {e.pytorch_label}", gap, "points")


def loss_gap(e: Evidence, which: str) -> Measure:
    """In percent of PyTorch's."""
    losses = (curves[f"{which}_loss"] for curves in e.sides(1).values())
    ours, theirs = (np.median(loss, 0)[LIMITS.similar_from - 1 :] for loss in losses)
    what = f"{which} loss, gap of the medians, over epochs"
    return Measure(what, f"scratch − {e.pytorch_label}", 100 * (ours / theirs - 1), "%")


def final_losses_overlap(e: Evidence, which: str) -> bool:
    final = [curves[f"{which}_loss"][:, -1] for curves in e.sides(1).values()]
    return bool(max(loss.min() for loss in final) <= min(loss.max() for loss in final))


def rises_again(e: Evidence) -> Judgement:
    measures = []
    for side, curves in e.sides(1).items():
        loss = curves["test_loss"]
        rise = 100 * (loss[:, -1] / loss.min(1) - 1)
        measures.append(Measure("final test loss above its minimum", side, rise, "%"))
    return measures, by_share([share(m.values > LIMITS.overfit_rise) for m in measures])


def gap_opens(e: Evidence) -> Judgement:
    measures, near, order = [], [], []
    for percent in LIMITS.overfit_gaps:
        medians = []
        for (side, curves), said in zip(e.sides(1).items(), LIMITS.overfit_epochs, strict=True):
            gap = curves["test_loss"] / curves["train_loss"] - 1
            epoch = first_for_good(100 * gap > percent)
            what = f"test loss more than {percent} % above training loss for good from epoch"
            measures.append(Measure(what, side, epoch))
            medians.append(float(np.median(epoch)))
            near.append(abs(medians[-1] - said) <= LIMITS.overfit_slack)
        order.append(medians[1] < medians[0])
    if all(near):
        return measures, HOLDS
    return measures, IN_PART if all(order) else NOT


def reaches_goal(e: Evidence, by: int, scratch: bool) -> Judgement:
    side, curves = list(e.sides(2).items())[0 if scratch else 1]
    row = 100 / e.rows("test")
    epochs = {
        p: first(at_least(e, curves, "test", p)) for p in (float(LIMITS.goal), LIMITS.goal - row)
    }
    measures = [
        Measure(f"first at {percent:g} % or more in epoch", side, epoch)
        for percent, epoch in epochs.items()
    ]
    reached = epochs[LIMITS.goal]
    final = 100 * e.counts(curves, "test")[:, -1] / e.rows("test")
    measures.append(Measure("final test accuracy", side, final, "%"))
    if (reached <= by).all():
        return measures, HOLDS
    return measures, IN_PART if share(np.isfinite(reached)) >= 0.5 else NOT


def converges_late(e: Evidence) -> Judgement:
    measures = []
    for side, curves in e.sides(2).items():
        counts = e.counts(curves, "test")
        near = 100 * np.abs(counts - counts[:, -1:]) <= LIMITS.settled * e.rows("test")
        what = "test accuracy within a point of its last value from epoch"
        measures.append(Measure(what, side, first_for_good(near)))
    loss = e.scratch[2]["train_loss"]
    fall = 100 * (1 - loss[:, -1] / loss[:, -11])
    measures.append(
        Measure("fall of the training loss in the last ten epochs", "scratch", fall, "%")
    )
    late = np.median(measures[0].values) > LIMITS.deep_late
    converged = np.median(fall) <= LIMITS.falling
    return measures, by_parts([bool(late), bool(converged)])


L = LIMITS
CLAIMS = (
    Claim(
        "2-data",
        "2",
        "500 records in the train set and 200 records on the test (validate) set; D = 10, M = 2",
        "the four files, read; classes balanced",
        the_data,
    ),
    Claim(
        "1-validated",
        "1",
        "validate it using a PyTorch implementation",
        "the report compares curves, which cannot validate gradients: not testable as written. "
        "Gradients compared at the same parameters (section 3) replace it",
        validated,
    ),
    Claim(
        "3.3-slower",
        "3.3",
        "slower rate compare to the Pytorch one at the first 100 epochs",
        f"mean training loss over epochs 1 to {L.slow_epochs} is higher from scratch, in every "
        "pair of seeds",
        lambda e: slower(e, 1),
    ),
    Claim(
        "3.3-above-90",
        "3.3",
        "both … achieve training and testing accuracies above 90% after 50 epochs",
        "first epoch from which the lower of training and test accuracy stays above "
        f"{L.high} %; at most {L.high_by}, every seed",
        lambda e: stays_high(e, 1, L.high_by),
    ),
    Claim(
        "3.3-above-94",
        "3.3",
        "converge to above 94% accuracy on test set within 200 epochs",
        f"test accuracy after the last epoch above {L.goal}.0 %, every seed",
        above_goal,
    ),
    Claim(
        "3.3-similar",
        "3.3",
        "similar results in both losses and accuracies … after 175 epochs",
        f"from epoch {L.similar_from} the medians over seeds differ by at most "
        f"{L.similar_accuracy:g} point of accuracy; and by at most {L.similar_loss:g} % of the "
        "loss, the ranges of the final losses overlapping",
        similar,
    ),
    Claim(
        "3.3-overfit",
        "3.3",
        "slightly over-fit (strict reading: the test loss rises again)",
        f"final test loss more than {L.overfit_rise:g} % above its minimum, every seed",
        rises_again,
    ),
    Claim(
        "3.3-overfit-epochs",
        "3.3",
        "slightly over-fit after around 140 epochs [scratch] … roughly 60 [PyTorch]",
        "weak reading: first epoch from which (test − training)/training loss stays above "
        f"{L.overfit_gaps[0]} % (and, again, {L.overfit_gaps[1]} %); holds where each median is "
        f"within {L.overfit_slack} epochs of the report's, in part where only their order is the "
        "report's",
        gap_opens,
    ),
    Claim(
        "4-slower",
        "4",
        "[scratch] converged much slower compare to those of the Pytorch",
        f"two hidden layers: mean training loss over epochs 1 to {L.slow_epochs} is higher, in "
        "every pair of seeds",
        lambda e: slower(e, 2),
    ),
    Claim(
        "4-pytorch-90",
        "4",
        "Pytorch … quickly achieves … accuracies above 90% within the first 20 epochs",
        "first epoch from which the lower of training and test accuracy stays above "
        f"{L.high} %; at most {L.deep_high_by}, every seed",
        lambda e: stays_high(e, 2, L.deep_high_by, pytorch_only=True),
    ),
    Claim(
        "4-pytorch-94",
        "4",
        "[PyTorch] reaches test accuracy of 94% after 50 epochs",
        f"first epoch with test accuracy of at least {L.goal}.0 %: holds where at most "
        f"{L.deep_goal_by} for every seed, in part where at least half of them reach it in the run",
        lambda e: reaches_goal(e, L.deep_goal_by, scratch=False),
    ),
    Claim(
        "4-scratch-late",
        "4",
        "the self-implemented … only converges after first 100 epochs",
        f"late: test accuracy stays within {L.settled:g} point of its last value only from an "
        f"epoch after {L.deep_late} (median); converged: training loss falls by at most "
        f"{L.falling:g} % in the last ten epochs",
        converges_late,
    ),
    Claim(
        "4-scratch-94",
        "4",
        "[scratch] reaches test accuracy of 94% after 150 epochs",
        f"first epoch with test accuracy of at least {L.goal}.0 %: holds where at most "
        f"{L.deep_scratch_goal_by} for every seed, in part where at least half of them reach it "
        "in the run; one test row less is shown beside it",
        lambda e: reaches_goal(e, L.deep_scratch_goal_by, scratch=True),
    ),
)


def judge(evidence: Evidence, data: str, reports_own: bool) -> list[dict[str, Any]]:
    """Every claim: its words, what was measured, and a verdict where the data are the report's."""
    judged = []
    for claim in CLAIMS:
        measures, verdict = claim.judge(evidence)
        summaries = [m.summary() for m in measures]
        seeds = {side: len(curves["train_loss"]) for side, curves in evidence.sides(1).items()}
        judged.append(
            {key: getattr(claim, key) for key in ("id", "section", "quote", "definition")}
            | {"data": data, "n_seeds": seeds}
            | {key: summaries[0][key] for key in ("median", "min", "max")}
            | {"verdict": verdict if reports_own else OTHER_DATA, "measures": summaries}
        )
    return judged


def wilson(right: int, rows: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95 % interval of an accuracy of right out of rows (Wilson 1927)."""
    p, spread = right / rows, z * z / rows
    middle, half = p + spread / 2, z * math.sqrt(p * (1 - p) / rows + spread / rows / 4)
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)
