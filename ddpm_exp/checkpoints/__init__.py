"""Atomic, checksummed checkpoints of tensors and plain data."""
