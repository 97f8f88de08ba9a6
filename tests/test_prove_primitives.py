"""prove: what single primitives stand for, by a right rule and a wrong one for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import pointwise

import jaxnet

X = np.array([0.3, -1.2, 2.1])


def verdict(body, slope, x=X):
    """Of body, element by element, with this slope."""
    return str(jaxnet.prove(pointwise(body, slope), x).verdict)


# -- what reaches the host, or memory


@pytest.mark.parametrize(("slope", "expected"), [(jnp.cos, "proved"), (jnp.sin, "refuted")])
def test_a_callback_that_returns_nothing_changes_no_number(slope, expected, capfd):
    def printed(x):
        jax.debug.print("met {}", x)
        return slope(x)

    assert verdict(jnp.sin, printed) == expected
    assert "met" not in capfd.readouterr().out


def test_memory_that_is_written_to_is_not_followed():
    def doubled(x):
        memory = jax.new_ref(x)
        memory[...] = 2 * x
        return memory[...]

    for slope in (2.0, 1.0):
        proof = jaxnet.prove(doubled, X, ref=lambda x, slope=slope: slope * x)
        assert "not known (memory that is written to" in proof.sentence()


def test_what_raises_elsewhere_is_judged_at_the_arguments_alone():
    def require(is_small):
        if not is_small:
            raise ValueError("too large")
        return np.asarray(is_small)

    def sine(x):
        is_small = jnp.sum(x) < 100
        fine = jax.pure_callback(require, jax.typeof(is_small), is_small)
        return jnp.where(fine, jnp.sin(x), 0.0)

    assert verdict(sine, jnp.cos) == "proved"
    assert verdict(sine, jnp.sin) == "refuted"
    proof = jaxnet.prove(pointwise(sine, jnp.cos), X + 100)
    assert "not known (it raises at the arguments: " in proof.sentence()
