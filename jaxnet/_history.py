"""What a training run came to: what was measured, and an error where it came to nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from jaxnet._devices import on_host
from jaxnet._training_run import Outcome


@dataclass(frozen=True, eq=False)
class History:
    """What was measured after each epoch, on the whole of each set, and how the run ended.

    Every entry of `values` is also an attribute: train_loss, train_accuracy, and validation_loss,
    test_loss and so on where these sets were given. As the name of a set stands before every
    metric, none can be called as a field of the History is; where you make one whose values hold
    such a name, the field comes first, and the entry is read from `values`.

    values: name -> [epochs], or [runs, epochs] for several runs, floating; NumPy arrays. A metric
        that is an array itself has its own axes after these. NaN where a run had ended before.
    epochs: how many were measured.
    seconds: what the run took, compilation included, and the parts before where it was resumed.
    interrupted: whether Ctrl-C came while it ran; it may have had all its epochs by then.
    opt_state: the optimizer's state that belongs to the parameters returned, from which
        `fit(..., opt_state=...)` goes on; for several runs every leaf has a leading axis [runs].
        None where it is not known. It stays in the device's memory as long as the history does,
        unless `dataclasses.replace(history, opt_state=None)` is what you keep.
    best_epoch: where there was a validation set, the epoch whose parameters were returned, counted
        from 1; 0 where no epoch had a validation loss that is a number. [runs] for several runs.
    diverged: whether the training loss became NaN or inf; [runs], bool, for several runs.

    >>> values = {"train_loss": np.array([0.7, 0.4]), "train_accuracy": np.array([0.5, 0.9])}
    >>> history = jaxnet.History(values, epochs=2, seconds=1.5)  # as `fit` returns it
    >>> print(history.train_loss, history.train_accuracy[-1])
    [0.7 0.4] 0.9
    """

    values: Mapping[str, NDArray[np.floating[Any]]] = field(repr=False)
    epochs: int
    seconds: float
    interrupted: bool = False
    opt_state: optax.OptState | None = field(default=None, repr=False)
    best_epoch: int | NDArray[np.integer[Any]] | None = None
    diverged: bool | NDArray[np.bool_] = False

    def __getattr__(self, name: str) -> NDArray[np.floating[Any]]:
        # copy asks for attributes before values is there: self.values would come here for ever.
        values: Mapping[str, NDArray[np.floating[Any]]] = self.__dict__.get("values", {})
        if name not in values:
            raise AttributeError(f"History has no {name!r}; it has {', '.join(values)}")
        return values[name]


class NonFiniteLoss(FloatingPointError):
    """The training loss became inf or NaN.

    message: what happened, in which epoch, and what usually mends it.
    history: a History, the run up to that epoch, included.
    params: where there was a validation set, the parameters of history.best_epoch; None where no
        epoch had a validation loss that is a number, or no set was given.

    >>> import optax
    >>> x, params = jnp.ones((4, 1)), jaxnet.init_mlp(jax.random.key(0), (1, 1))
    >>> try:
    ...     jaxnet.fit(
    ...         jaxnet.mlp, params, train=(x, x), epochs=9, batch_size=4, optimizer=optax.sgd(1e10),
    ...         loss=jaxnet.rules.mean_squared_error, metrics={})
    ... except jaxnet.NonFiniteLoss as error:
    ...     print(np.isfinite(error.history.train_loss[:2]))
    [ True False]
    """

    def __init__(self, message: str, history: History, params: Any = None) -> None:
        super().__init__(message)
        self.history = history
        self.params = params


def result(outcome: Outcome, names: Sequence[str]) -> tuple[Any, History]:
    """What `fit` returns."""
    state = outcome.state
    epochs = on_host(state.epochs)
    best = None if state.best is None else on_host(state.best.epoch)
    diverged = on_host(state.diverged)
    kept = state if state.best is None else state.best
    history = History(
        {
            name: np.ascontiguousarray(np.moveaxis(values, 0, epochs.ndim))
            for name, values in zip(names, outcome.measured, strict=True)
        },
        epochs=len(outcome.measured[0]),
        seconds=outcome.seconds,
        interrupted=outcome.interrupted,
        opt_state=kept.opt_state,
        best_epoch=best if epochs.ndim or best is None else int(best),
        diverged=diverged if epochs.ndim else bool(diverged),
    )
    if diverged.all():
        raise _non_finite(history, kept.params if np.any(best) else None)
    return kept.params, history


def _non_finite(history: History, params: Any) -> NonFiniteLoss:
    bad = np.argwhere(~np.isfinite(history.train_loss))  # a row [epoch] or [run, epoch] for each
    *run, epoch = bad[np.argmin(bad[:, -1])]
    where = f"epoch {epoch + 1} of run {run[0]}" if run else f"epoch {epoch + 1}"
    return NonFiniteLoss(
        f"fit: the training loss became {history.train_loss[(*run, epoch)]} in {where}; "
        f"a smaller learning rate, standardised inputs or "
        f"optax.clip_by_global_norm usually mend it",
        history,
        params,
    )
