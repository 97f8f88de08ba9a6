import collections
import os
import signal
import subprocess
import sys
import textwrap

import jax
import pytest

# Most of the time of these tests goes into compiling small programs: XLA should not optimise them.
# Nor should it in the scripts that tests start. Set XLA_FLAGS, to nothing say, for XLA's own
# options.
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    if jax.__version_info__ < (0, 11):  # its fusion emitters take most of the time; later ones stay
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"


def pytest_addoption(parser):
    parser.addoption(
        "--cases",
        default="0/6",
        metavar="K/N",
        help="of each test marked `many` run every Nth case, from the Kth on (default: %(default)s); "
        "0/1 runs them all",
    )


def pytest_collection_modifyitems(config, items):
    first, step = map(int, config.getoption("cases").split("/"))
    cases = collections.Counter()  # by test, how many of its cases were met
    left_out = set()
    for item in items:
        if item.get_closest_marker("many"):
            test = (item.path, item.originalname)
            if cases[test] % step != first:
                left_out.add(item)
            cases[test] += 1
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
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def ctrl_c_works():
    """A process started in the background of a script ignores SIGINT, and so do its children.

    Not in this test.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
