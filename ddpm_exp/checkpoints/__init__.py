"""Atomic, checksummed checkpoints of tensors and plain data, written while training goes on."""

from ddpm_exp.checkpoints.store import Checkpoint, latest, load, save

__all__ = ["Checkpoint", "latest", "load", "save"]
