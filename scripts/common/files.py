"""Files that are written whole or not at all."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def write(path: Path, content: str | bytes) -> None:
    """Readers find the old file, or none, until the new one is complete.

    A failure leaves nothing behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Strict JSON: a NaN or an infinity is an error, not a word that other readers refuse."""
    write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write(path, buffer.getvalue())
