"""What a process takes beside what torch reserves: CUDA's context, libraries and the kernels that they load. Asks no device."""

from __future__ import annotations

from ddpm_exp.memory.kernels import Kernels
from ddpm_exp.memory.terms import MIB
from ddpm_exp.spec.experiment import Experiment

CPU = 700 * MIB
"""A process that has imported torch and this package."""

CONVOLUTIONS = 869 * MIB
"""The largest that was measured on an H100 of any network whose convolutions are known (from 839 in 16 bits, from 843 in fp32)."""

TRANSFORMER = 848 * MIB
"""825 to 843 MiB measured, after FID's convolutions too."""

PRODUCTS = 821 * MIB
"""A network of matrix products alone loads no convolutions: the same in all that were measured."""

GRAPHS = 76 * MIB
"""What of it the first captured graph takes (measured on an H100)."""

COMPILED = 82 * MIB
"""What kernels of `torch.compile` add for a network of convolutions with fused kernels: 951 MiB in all at most."""


def context_bytes(experiment: Experiment, kernels: Kernels) -> int:
    """Counted with the largest seen: kernels that a library loads follow from no published rule."""
    kind = experiment.model.kind
    found = {"mlp": PRODUCTS, "dit": TRANSFORMER}.get(kind, CONVOLUTIONS)
    if not experiment.hardware.cuda_graph:
        found -= GRAPHS
    if experiment.hardware.compile is True and kernels.fused_norms and kind in ("unet", "encoder-decoder"):
        found += COMPILED
    return found
