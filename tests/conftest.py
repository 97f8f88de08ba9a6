import jax
import pytest


@pytest.fixture
def x64():
    """float64 arrays for one test; the rest of the suite runs as users do, in float32."""
    with jax.enable_x64(True):
        yield
