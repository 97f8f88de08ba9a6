"""How every test runs: XLA's options, which cases a plain run takes, and the fixtures."""

import collections
import functools
import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap

# As many tests run at once as there are cores: threads of NumPy's would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# No process reads from the user's cache of compiled programs, or writes there.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import hypothesis
import jax
import pytest

import jaxnet
from jaxnet.checking.cells import TRANSFORMS

# Most of the time of these tests goes into compiling small programs: XLA should not optimise them,
# nor those of the scripts that tests start. Whoever sets XLA_FLAGS, be it to nothing, gets just
# that.
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    if jax.__version_info__ < (0, 11):
        # Its fusion emitters take most of the time; in later versions they stay on.
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

# Processes side by side share an accelerator: none may take all of its memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
if jax.default_backend() != "cpu":
    # What is tested is small and about digits, and it multiplies float32 with few of them unless
    # asked: here, and in the scripts that tests start.
    jax.config.update("jax_default_matmul_precision", "highest")
    os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"

# No test asserts a time: a loaded machine would fail it.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")


def pytest_addoption(parser):
    parser.addoption(
        "--cases",
        default="0/40",
        metavar="K/N",
        help="of each test marked `many` run every Nth case, starting with case K, and every Nth "
        "of those that have no cases (default: %(default)s); 0/1 runs them all",
    )


def pytest_collection_modifyitems(config, items):
    """Leave out the cases that --cases does not ask for."""
    first, step = map(int, config.getoption("cases").split("/"))
    seen = collections.Counter()  # how many came before: by test, or of those without cases
    left_out = set()
    for item in items:
        if item.get_closest_marker("many"):
            test = (item.path, item.originalname) if hasattr(item, "callspec") else None
            if seen[test] % step != first:
                left_out.add(item)
            seen[test] += 1
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True, scope="module")
def what_was_before_is_no_garbage():
    """A check of what closes over NumPy arrays collects garbage: not among all that JAX holds."""
    gc.freeze()


@pytest.fixture(params=[(), TRANSFORMS], ids=["as it is", "transformed"])
def check(request):
    """`jaxnet.check` without transformations, which take most of its time, and with all of them.

    For tests marked `many`, of what is said of the function as it is.
    """
    return functools.partial(jaxnet.check, transforms=request.param)


@pytest.fixture
def x64():
    """float64 arrays for one test; the rest of the suite runs as users do, in float32."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def compilations():
    """The names of the programs that XLA compiles during a test."""
    names = []

    class Handler(logging.Handler):
        def emit(self, record):
            if "Compiling" in record.getMessage():
                names.append(record.getMessage())

    logger, handler = logging.getLogger("jax"), Handler()
    logger.addHandler(handler)
    with jax.log_compiles():
        yield names
    logger.removeHandler(handler)


@pytest.fixture
def forced_devices():
    """Run a program in a process of its own where the CPU counts as several devices."""

    def run(program, devices=2):
        flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
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
    """Let SIGINT interrupt the test and what it starts, as Ctrl-C does at a terminal.

    Where the tests run in the background of a script, they and their children would ignore it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
