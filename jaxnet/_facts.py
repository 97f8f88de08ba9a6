"""What a training run is: a checkpoint of another run is none of this one."""

from collections.abc import Iterable, Mapping
from typing import Any

import jax

from jaxnet._checkpoint import digest
from jaxnet._programs import digest_of_program
from jaxnet._training_program import NOWHERE, Given, Recipe, State, segment
from jaxnet._version import __version__


def facts_of(
    recipe: Recipe, metrics: Iterable[str], state: State, sets: Mapping[str, Any], given: Given
) -> dict[str, Any]:
    """What a run is; where one of them is another, it is another run."""
    args = state, list(sets.values()), given, NOWHERE, NOWHERE
    return {
        "jaxnet": __version__,
        "jax": jax.__version__,
        "devices": f"{jax.device_count()} of {jax.devices()[0].device_kind}",
        "runs": recipe.runs,
        "batch_size": recipe.batch_size,
        "patience": recipe.patience,
        "metrics": ", ".join(metrics),
        "params": digest(state.params),
        "opt_state": digest(state.opt_state),
        "key": digest(given.shuffle),
        "model_key": digest(given.model),
        "settings": digest(given.settings),
        **{name: digest(data) for name, data in sets.items()},
        "model, loss, metrics or optimizer": digest_of_program(segment, (recipe,), *args),
    }
