import os
import signal
import subprocess
import sys
import textwrap

import jax
import pytest


@pytest.fixture
def x64():
    """float64 arrays for one test; the rest of the suite runs as users do, in float32."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def forced_devices():
    """Run a program in a process of its own where the CPU counts as two devices."""

    def run(program):
        environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def ctrl_c_works():
    """A process started in the background of a script ignores SIGINT, and so do its children; not in this test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
