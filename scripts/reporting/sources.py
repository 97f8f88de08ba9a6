"""The data, by what the files hold and not by where they lie; and PyTorch's curves on them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common.job import DATA, DEPTHS, FILES, NETWORKS

from jaxnet import datasets
from jaxnet.datasets import Dataset

HISTORIES = DATA / "torch_histories.npz"
PYTORCH_STARTS = ("course", "PyTorch")  # from which PyTorch is trained as well
REPORTS_OWN = {  # sha256 of the report's own files
    "XTrain.txt": "4042a4b7b5c02547f6b5cc50b7e63e6dd53b54156cf27581ade1b228fa9cae50",
    "yTrain.txt": "9f855b568148051b69d908914fb14b8fb6a1f7ea07697ae03ce8af82a8211241",
    "XTest.txt": "b631a3e24544bebc5fbecdb28cf951e3e1fbc709659d0993dafffe94d9e7e130",
    "yTest.txt": "b1c358567794be11a8602d3fe9a16f774d59bb91e2ccde5153d6ff285e704030",
}

Curves = Mapping[str, np.ndarray]  # {train,test}_{loss,accuracy}: [seeds, epochs]


class Source(NamedTuple):
    """A folder of data, read."""

    data: Dataset
    name: str
    digests: dict[str, str]  # sha256 by file

    @property
    def is_reports_own(self) -> bool:
        return self.digests == REPORTS_OWN

    @property
    def test_rows(self) -> int:
        return len(self.data.test[1])

    @property
    def classes(self) -> int:
        return len(self.data.classes)


def read(folder: Path) -> Source:
    """OSError or ValueError where the folder does not hold such data."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with {', '.join(FILES)}")
    data = datasets.load(folder)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}
    return Source(data, name_data(digests, folder), digests)


def name_data(digests: Mapping[str, str], folder: Path) -> str:
    if digests == REPORTS_OWN:
        return "the report's own data"
    if digests == recorded_digests():
        return "a twin of the report's data (its layout, size and distribution, none of its rows)"
    return f"other data than the report's, folder {folder.resolve().name}"


def recorded_digests() -> dict[str, str]:
    """sha256 of the files on which the recorded histories were made."""
    with np.load(HISTORIES, allow_pickle=False) as archive:
        return dict(json.loads(str(archive["meta"]))["sha256"])


class PyTorch(NamedTuple):
    """PyTorch itself, live or recorded."""

    label: str
    curves: dict[int, dict[str, Curves]]  # hidden layers -> initialisation -> curves


def recorded_pytorch(digests: Mapping[str, str], seeds: int) -> PyTorch | None:
    """None: nothing was recorded on these data."""
    with np.load(HISTORIES, allow_pickle=False) as archive:
        meta = json.loads(str(archive["meta"]))
        if meta["sha256"] != digests:
            return None

        def curves(hidden: int, start: str) -> Curves:
            prefix = f"{hidden}_{start.lower()}_"
            names = [name for name in archive.files if name.startswith(prefix)]
            return {name.removeprefix(prefix): archive[name][:seeds] for name in names}

        by_depth = {
            hidden: {start: curves(hidden, start) for start in PYTORCH_STARTS} for hidden in DEPTHS
        }
    return PyTorch(f"PyTorch {meta['torch']}, recorded", by_depth)


def live_pytorch(data: Dataset, seeds: int) -> PyTorch:
    import torch
    from common import pytorch

    def curves(hidden: tuple[int, ...], start: str) -> Curves:
        histories = [
            pytorch.torch_history(hidden, start.lower(), seed, data) for seed in range(seeds)
        ]
        return {name: np.stack([h[name] for h in histories]) for name in histories[0]}

    by_depth: dict[int, dict[str, Any]] = {
        len(hidden): {start: curves(hidden, start) for start in PYTORCH_STARTS}
        for hidden in NETWORKS
    }
    return PyTorch(f"PyTorch {torch.__version__}", by_depth)
