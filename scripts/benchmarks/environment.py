"""Where the numbers come from: versions and machine."""

import importlib.metadata
import os
import platform
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("jax", "jaxlib", "numpy", "torch", "scikit-learn")


def environment() -> dict[str, Any]:
    import jax

    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": f"{device.platform} ({device.device_kind})",
    }


def processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def in_words(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {about[name] or 'not installed'}" for name in PACKAGES)
    return (
        f"Python {about['python']}, {versions}; {about['platform']}; "
        f"{about['processor'] or 'unknown processor'}, {about['cores']} cores; "
        f"jax on {about['device']}"
    )


def print_paragraph(text: str) -> None:
    print(textwrap.fill(text, 100, break_on_hyphens=False), end="\n\n", flush=True)
