"""The report's job in PyTorch, plainly written: the reference.

Linear layers and ReLU, the mean of the cross-entropy, SGD, rows in the order of the file.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from common.job import BATCH_SIZE, EPOCHS, RATE

if TYPE_CHECKING:  # importing jaxnet imports jax, and PyTorch is timed without it
    from jaxnet.datasets import Dataset

Arrays = tuple[np.ndarray, np.ndarray]  # x [rows, features] and y [rows]; weight and bias


def make_network(sizes: Sequence[int], seed: int) -> nn.Sequential:
    """With the initialisation of nn.Linear. sizes: (in, hidden ..., out)."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for fan_in, out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def draw_as_the_course(model: nn.Module) -> None:
    """0.01 * U[0, 1) for every weight and bias."""
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0, 0.01)


def set_parameters(model: nn.Module, layers: Iterable[Iterable[np.ndarray]]) -> None:
    """layers: weight [out, in] and bias [out] of each."""
    values = itertools.chain.from_iterable(layers)
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.data = torch.tensor(value)


def get_parameters(model: nn.Module) -> list[Arrays]:
    """weight [out, in] and bias [out] of each layer."""
    values = [parameter.detach().numpy().copy() for parameter in model.parameters()]
    return list(zip(values[::2], values[1::2], strict=True))


def update(
    model: nn.Module, optimizer: torch.optim.Optimizer, criterion: nn.Module, x: Tensor, y: Tensor
) -> None:
    optimizer.zero_grad()
    criterion(model(x), y).backward()
    optimizer.step()


def train(
    model: nn.Module, data: Mapping[str, Arrays], epochs: int = EPOCHS, *, whole: bool = True
) -> dict[str, list[float]]:
    """{train,test}_{loss,accuracy} after every epoch, each over the whole set. Trains the model.

    data: train and test. whole: a set is evaluated in one pass, else through its DataLoader.
    """
    # Sums in one order; and the default, a thread per core, took ten times as long on two cores.
    torch.set_num_threads(1)
    sets = {
        name: (torch.tensor(x), torch.tensor(y, dtype=torch.long)) for name, (x, y) in data.items()
    }
    loaders = {
        name: DataLoader(TensorDataset(*pair), batch_size=BATCH_SIZE) for name, pair in sets.items()
    }
    evaluated = {name: [pair] for name, pair in sets.items()} if whole else loaders
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    history: dict[str, list[float]] = {
        f"{name}_{kind}": [] for name in sets for kind in ("loss", "accuracy")
    }
    for _ in range(epochs):
        model.train()
        for x, y in loaders["train"]:
            update(model, optimizer, criterion, x, y)

        model.eval()
        for name, batches in evaluated.items():
            loss, accuracy = evaluate(model, batches)
            history[f"{name}_loss"].append(loss)
            history[f"{name}_accuracy"].append(accuracy)
    return history


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[float, float]:
    """Loss and accuracy over all rows of the batches."""
    criterion = nn.CrossEntropyLoss()
    loss, right, rows = 0.0, 0, 0
    for x, y in batches:
        scores = model(x)
        loss += criterion(scores, y).item() * len(y)
        right += (scores.argmax(dim=1) == y).sum().item()
        rows += len(y)
    return loss / rows, right / rows


def torch_history(
    hidden: Sequence[int], initialisation: str, seed: int, data: "Dataset"
) -> dict[str, np.ndarray]:
    """Train one network and return its history, float32 [epochs] by name.

    hidden: the widths of the hidden layers. initialisation: "pytorch", that of nn.Linear, or
    "course", 0.01 * U[0, 1) for every weight and bias.
    """
    model = make_network((len(data.features), *hidden, len(data.classes)), seed)
    if initialisation == "course":
        draw_as_the_course(model)
    history = train(model, {"train": data.train, "test": data.test})
    return {name: np.array(values, np.float32) for name, values in history.items()}
