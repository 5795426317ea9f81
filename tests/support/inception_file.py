"""A file of random Inception weights in torch-fidelity's format: for the wiring of FID, not for its values.

The real weights must be downloaded. torch's default initialisation lets features collapse, so that FID is 0 for any two
sets; He initialisation keeps them apart.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch

from ddpm_exp.memory.evaluation_steps import inception


def write_random_inception(path: Path, seed: int = 0) -> Path:
    """Write `path`, about 96 MB; the same weights for the same seed."""
    torch.manual_seed(seed)
    network = copy.deepcopy(inception()).to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.reset_parameters()  # biases
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.reset_parameters()
    torch.save(network.state_dict(), path)
    return path
