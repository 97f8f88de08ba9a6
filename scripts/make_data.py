"""Make every file under data/: two data sets, PyTorch's histories, the README.

They are the same byte for byte each time. Needs scikit-learn, where the breast cancer data come
from, and PyTorch with --torch.
"""

import argparse
import csv
import hashlib
import io
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from common.job import BATCH_SIZE, EPOCHS, FILES, NETWORKS, RATE

from jaxnet._files import write_npz, write_whole
from jaxnet.datasets import load


class Gaussian(NamedTuple):
    """A normal distribution of two columns: means, standard deviations, correlation."""

    mean: tuple[float, float]
    deviation: tuple[float, float]
    correlation: float

    def draw(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        first, second = rng.standard_normal((2, rows))
        second = self.correlation * first + math.sqrt(1 - self.correlation**2) * second
        return np.stack(
            [m + s * z for m, s, z in zip(self.mean, self.deviation, (first, second), strict=True)],
            axis=1,
        )

    def density(self, x1: np.ndarray, x2: np.ndarray) -> np.ndarray:
        (m1, m2), (s1, s2), r = self
        u, v = (x1 - m1) / s1, (x2 - m2) / s2
        exponent = -(u**2 - 2 * r * u * v + v**2) / (2 * (1 - r**2))
        return np.exp(exponent) / (2 * math.pi * s1 * s2 * math.sqrt(1 - r**2))


# What the course's data measure in columns 1 and 2, one Gaussian per class; the others are N(0, 1).
TWIN = (
    Gaussian((0.94, 1.01), (0.99, 1.03), -0.80),
    Gaussian((-0.93, -0.91), (0.91, 0.90), 0.74),
)
NOISE_COLUMNS = 8

INITIALISATIONS = ("pytorch", "course")
SEEDS = range(8)


def course_twin() -> dict[str, str]:
    """The four files of the twin, as text by name.

    The seed was fixed before anything was trained on it.
    """
    rng = np.random.default_rng(0)
    files = {}
    for part, rows in (("Train", 500), ("Test", 200)):
        y = rng.permutation(np.repeat([0, 1], rows // 2))
        x = rng.standard_normal((rows, 2 + NOISE_COLUMNS))
        for label, gaussian in enumerate(TWIN):
            x[y == label, :2] = gaussian.draw(rng, rows // 2)
        files[f"X{part}.txt"] = "".join(
            "\t".join(f"{value:.5g}" for value in row) + "\n" for row in x
        )
        files[f"y{part}.txt"] = "".join(f"{label}\n" for label in y)
    return files


def bayes_accuracy(step: float = 0.01, reach: float = 8.0) -> float:
    """The best accuracy that any classifier can have on the twin's distribution.

    With equal classes it is the integral of max(p0, p1) / 2 over the two columns in which the
    classes differ, here by the midpoint rule.
    """
    axis = np.arange(-reach + step / 2, reach, step)
    p0, p1 = (gaussian.density(axis[:, None], axis) for gaussian in TWIN)
    return float(np.maximum(p0, p1).sum()) * step**2 / 2


def bayes_accuracy_by_draws(draws: int = 4_000_000) -> tuple[float, float]:
    """The same by classifying `draws` random rows, and the standard error of that."""
    rng = np.random.default_rng(1)
    right = 0
    for label, gaussian in enumerate(TWIN):
        x1, x2 = gaussian.draw(rng, draws // 2).T
        right += np.count_nonzero((TWIN[1].density(x1, x2) > TWIN[0].density(x1, x2)) == label)
    accuracy = right / draws
    return accuracy, math.sqrt(accuracy * (1 - accuracy) / draws)


def breast_cancer() -> str:
    """Breast Cancer Wisconsin (Diagnostic) as CSV text.

    repr writes a float so that it reads back exactly.
    """
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise SystemExit(
            "make_data.py takes the breast cancer data from scikit-learn: pip install scikit-learn"
        ) from None
    source = load_breast_cancer()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*source.feature_names, "diagnosis"])
    for row, label in zip(source.data.tolist(), source.target, strict=True):
        writer.writerow([*map(repr, row), source.target_names[label]])
    return text.getvalue()


def torch_histories(folder: Path) -> dict[str, np.ndarray]:
    """PyTorch on the twin in `folder`, [seeds, epochs] by depth and initialisation.

    With them `meta`: what made them.
    """
    try:
        import torch
    except ImportError:
        raise SystemExit("make_data.py --torch needs PyTorch: pip install torch") from None
    from common.pytorch import torch_history

    data = load(folder)
    arrays: dict[str, np.ndarray] = {}
    for hidden in NETWORKS:
        for initialisation in INITIALISATIONS:
            runs = [torch_history(hidden, initialisation, seed, data) for seed in SEEDS]
            curves = {name: np.stack([run[name] for run in runs]) for name in runs[0]}
            for name, values in curves.items():
                arrays[f"{len(hidden)}_{initialisation}_{name}"] = values
            loss, accuracy = (curves[f"test_{kind}"][:, -1].mean() for kind in ("loss", "accuracy"))
            print(
                f"PyTorch, hidden {hidden}, {initialisation}: "
                f"test loss {loss:.4f}, accuracy {accuracy:.4f} at the end"
            )
    meta = {
        "torch": torch.__version__,
        "script": "scripts/make_data.py",
        "sha256": {name: sha256(folder / name) for name in FILES},
        "hidden": NETWORKS,
        "initialisations": INITIALISATIONS,
        "seeds": list(SEEDS),
        "epochs": EPOCHS,
        "rate": RATE,
        "batch_size": BATCH_SIZE,
        "order": "file",
        "optimizer": "SGD",
        "loss": "mean cross-entropy",
        "dtype": "float32",
    }
    return arrays | {"meta": np.array(json.dumps(meta))}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


README = """\
# Data

Every file here, this one too, is made by

    python scripts/make_data.py --torch

byte for byte the same each time; the PyTorch histories, which only `--torch` makes, may differ in
their last digits with another version of PyTorch or another processor.

## course_twin/

A twin of the data that the course handed out: its layout, its size, its distribution, none of its
rows. 500 rows to train and 200 to test, 10 features, classes 0 and 1, balanced, in random order.
Tab-separated text, five significant digits, no header. Drawn with seed 0, which was fixed before
anything was trained on it.

Columns 1 and 2 carry the classes, columns 3 to 10 are independent N(0, 1) noise.

| class | means | standard deviations | correlation |
|---|---|---|---|
{gaussians}

No classifier can expect more than **{bayes:.4f}** accuracy on this distribution (the integral of
max(p0, p1) / 2 over columns 1 and 2, on a grid; 4 million random rows give {drawn:.4f} with a
standard error of {error:.4f}). On 200 rows the accuracy has a standard deviation of {noise:.3f}
about that: on this test set the best classifier happens to score {sample:.3f}.

Source: the script. Licence: this project's.

## breast_cancer.csv

Breast Cancer Wisconsin (Diagnostic): 569 rows, 30 features of cell nuclei in images of fine needle
aspirates of breast masses; the column `diagnosis` is `malignant` (212 rows) or `benign` (357). Ten
measurements, each as mean, standard error and worst value. The numbers are those of scikit-learn's
copy and read back exactly.

Source: W. H. Wolberg, W. N. Street and O. L. Mangasarian, Breast Cancer Wisconsin (Diagnostic), UCI
Machine Learning Repository, 1995, https://doi.org/10.24432/C5DW2B. The features are described in
W. N. Street, W. H. Wolberg and O. L. Mangasarian, Nuclear feature extraction for breast tumor
diagnosis, IS&T/SPIE Electronic Imaging 1905, 1993. Licence: CC BY 4.0,
https://creativecommons.org/licenses/by/4.0/. Changed here: the identity numbers are left out, the
classes are written out.
{torch}
## sha256

| file | sha256 |
|---|---|
{hashes}
"""

TORCH = """
## torch_histories.npz

What PyTorch {torch} does on the twin, for a side by side without installing it. One hidden layer of
100 units or two; initialisation `pytorch` (that of nn.Linear) or `course` (0.01 * U[0, 1) for
weights and biases); seeds 0 to 7; mean cross-entropy, SGD at {rate}, float32, {epochs} epochs of
batches of {batch_size} in the order of the file, the last one smaller.

Arrays are called `DEPTH_INITIALISATION_SET_QUANTITY`, such as `1_pytorch_test_loss`, with depth `1`
or `2`, set `train` or `test`, quantity `loss` or `accuracy`: float32 [8 seeds, {epochs} epochs],
over the whole set after each epoch. `meta` is JSON text: the version of PyTorch, the script, these
settings, and the sha256 of the four files of the twin.
Source: `torch_history` in `scripts/common/pytorch.py`. Licence: this project's.
"""


def readme(out: Path) -> str:
    """README.md for the files in `out`."""
    bayes, (drawn, error) = bayes_accuracy(), bayes_accuracy_by_draws()
    by_draws = f"{drawn:.5f} ± {error:.5f} by draws"
    print(f"Bayes accuracy of the twin: {bayes:.5f} by integration, {by_draws}")
    rows = [
        f"| {label} | {g.mean} | {g.deviation} | {g.correlation} |" for label, g in enumerate(TWIN)
    ]
    x, y = load(out / "course_twin").test
    best = TWIN[1].density(*x[:, :2].T) > TWIN[0].density(*x[:, :2].T)
    files = [Path("course_twin", name) for name in FILES] + [Path("breast_cancer.csv")]
    torch = ""
    if (histories := out / "torch_histories.npz").exists():
        files.append(Path(histories.name))
        with np.load(histories, allow_pickle=False) as archive:
            torch = TORCH.format_map(json.loads(str(archive["meta"])))
    return README.format(
        gaussians="\n".join(rows),
        bayes=bayes,
        drawn=drawn,
        error=error,
        noise=math.sqrt(bayes * (1 - bayes) / len(y)),
        sample=np.mean(best == y),
        torch=torch,
        hashes="\n".join(f"| {file.as_posix()} | {sha256(out / file)} |" for file in files),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("data"), help="folder to write to (default: %(default)s)"
    )
    parser.add_argument(
        "--torch", action="store_true", help="also train the 32 networks in PyTorch: about a minute"
    )
    options = parser.parse_args(arguments)

    for name, text in course_twin().items():
        write_whole(options.out / "course_twin" / name, text)
    write_whole(options.out / "breast_cancer.csv", breast_cancer())
    if options.torch:
        write_npz(options.out / "torch_histories.npz", torch_histories(options.out / "course_twin"))
    write_whole(options.out / "README.md", readme(options.out))
    for path in sorted(options.out.rglob("*.*")):
        print(f"{sha256(path)}  {path}")


if __name__ == "__main__":
    main()
