"""JSON files, written whole or not at all."""

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, value: Any) -> None:
    """Strict JSON: a NaN or an infinity is an error, not a word that other readers refuse."""
    from jaxnet._files import write_whole  # imports jax, for which a cold run must not pay

    write_whole(path, json.dumps(value, indent=2, allow_nan=False) + "\n")
