"""What an estimate says: peak bytes by term, and how far to trust it. Computes nothing about networks."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2
GIB = 1024**3

TERMS: dict[str, str] = {
    "weights": "parameters and buffers in fp32",
    "gradients": "gradients of the parameters in fp32",
    "optimizer": "what the optimizer keeps in fp32: two moments of each weight, Muon one of each hidden matrix",
    "ema": "averaged weights in fp32, one set for each average, and those of a network that guides",
    "activations": "tensors that the forward pass keeps for the backward pass",
    "autocast copies": "16-bit copies of the weights",
    "data": "data set and current batch",
    "workspace": "temporaries of the busiest moment and the libraries' workspaces",
    "fragmentation": "memory that the allocator reserves beyond what is in use",
    "context": "CUDA context and libraries (on a CPU: the interpreter and torch)",
}
"""Every term of an estimate and what it counts; they add up to the peak of training."""


@dataclass(frozen=True)
class Estimate:
    """Expected memory of one device at the busiest moment, without having touched the device."""

    terms: dict[str, int]
    """Bytes by term (see `TERMS`) at the busiest moment of a training step."""

    sampling_bytes: int
    """Peak bytes of an evaluation: errors and bits per dimension, and drawing, of `sampling_batch` images at once (guidance sends
    twice as many through the network). A step that was captured as a CUDA graph keeps its memory meanwhile."""

    sampling_batch: int
    """Images that evaluation may draw together: a power of two, as many as fit."""

    fid_bytes: int
    """Peak bytes while `fid_batch` images go through Inception at once, beside all that training keeps; 0 without FID."""

    fid_batch: int
    """Images that may go through Inception together: a power of two, as many as fit; 0 without FID."""

    moment: str
    """The busiest moment of a training step: `forward` or `backward`. (The fused optimizer needs nothing of its own.)"""

    uncertainty: float
    """Relative: the true peak is expected within `peak_bytes` x (1 +- uncertainty)."""

    @property
    def training_bytes(self) -> int:
        """Peak bytes of a training step."""
        return sum(self.terms.values())

    @property
    def peak_bytes(self) -> int:
        """The largest of the peaks of training, sampling and FID, in bytes."""
        return max(self.training_bytes, self.sampling_bytes, self.fid_bytes)

    @property
    def largest_term(self) -> str:
        """Name of the term that weighs most; `sampling` or `FID` where what that adds to training weighs more."""
        added = {"sampling": self.sampling_bytes - self.training_bytes, "FID": self.fid_bytes - self.training_bytes}
        weights = self.terms | added
        return max(weights, key=lambda name: weights[name])

    def to_json(self) -> dict[str, object]:
        """Plain JSON values, for `--json` and for files."""
        return {
            "terms": dict(self.terms),
            "training_bytes": self.training_bytes,
            "sampling_bytes": self.sampling_bytes,
            "sampling_batch": self.sampling_batch,
            "fid_bytes": self.fid_bytes,
            "fid_batch": self.fid_batch,
            "peak_bytes": self.peak_bytes,
            "largest_term": self.largest_term,
            "moment": self.moment,
            "uncertainty": self.uncertainty,
        }


def in_words(size: int) -> str:
    """`size` bytes as a person reads it: `812 MiB`, `3.41 GiB`."""
    return f"{size / GIB:.2f} GiB" if size >= GIB else f"{size / MIB:.0f} MiB"
