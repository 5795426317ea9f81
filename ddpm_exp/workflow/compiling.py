"""Whether compiling the network earns back its time: from the run's length, measured on this GPU, and gains on record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ddpm_exp.spec.experiment import Experiment


class Compilation(NamedTuple):
    """What compiling a kind of network costs and wins."""

    seconds: float
    """To compile forward and backward, beyond the first steps without."""

    gain: float
    """Speed of a step compiled over not compiled, the captured one of `run` in both cases."""


GAINS = {
    "unet": Compilation(94.0, 0.81),
    "encoder-decoder": Compilation(33.0, 0.71),
    "dit": Compilation(36.0, 1.56),
    "mlp": Compilation(20.0, 1.0),
}
"""By the kind of `model`, on an H100 in bf16 (benchmarks/compile_gain.py). Where the fused kernels are, compiled steps are slower.
The MLP's steps wait for launches, compiled or not."""

MARGIN = 2.0
"""Compile where it saves at least this many times what it costs: other GPUs, other sizes."""


@dataclass(frozen=True)
class Choice:
    """Compile or not, and why."""

    compile: bool
    why: str


def choose(experiment: Experiment, seconds_without: float) -> Choice:
    """For a training of `seconds_without` if not compiled. An experiment that says True or False is obeyed."""
    asked = experiment.hardware.compile
    if asked != "auto":
        return Choice(asked, "as hardware.compile says")
    kind = experiment.model.kind
    cost, gain = GAINS[kind]
    saved = seconds_without * (1.0 - 1.0 / gain)
    if saved <= 0:
        return Choice(False, f"not compiled: no gain over captured steps is on record for a {kind}")
    sums = f"it would take {_duration(saved)} off {_duration(seconds_without)} of training, and {_duration(cost)} itself"
    if saved < MARGIN * cost:
        return Choice(False, f"not compiled: {sums}")
    return Choice(True, f"compiled: {sums}")


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
