import os
import signal
import subprocess
import sys
import textwrap

import jax
import pytest


def pytest_collection_modifyitems(config, items):
    """HALF_OF_MANY=0 or 1: of the tests marked `many` every other one, from that one on; the rest always."""
    if "HALF_OF_MANY" in os.environ:
        many = [item for item in items if item.get_closest_marker("many")]
        left_out = set(many[1 - int(os.environ["HALF_OF_MANY"]) :: 2])
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def x64():
    """float64 arrays for one test; the rest of the suite runs as users do, in float32."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def forced_devices():
    """Run a program in a process of its own where the CPU counts as two devices."""

    def run(program):
        environment = os.environ | {
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
            "JAX_PLATFORMS": "cpu",
        }
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def ctrl_c_works():
    """A process started in the background of a script ignores SIGINT, and so do its children; not in this test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
