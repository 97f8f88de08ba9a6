"""The version, where checkpoints find it too, installed or not."""

__version__ = "0.1.0"
