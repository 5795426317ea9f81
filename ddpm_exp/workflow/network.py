"""The network that an experiment describes, for data of given facts. Trains and loads nothing."""

from __future__ import annotations

import torch
from torch import nn

from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.examples import Facts
from ddpm_exp.diffusion import draws
from ddpm_exp.models.build import build_network
from ddpm_exp.models.fused import available
from ddpm_exp.models.group_norm import fuse
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import family_of
from ddpm_exp.spec.experiment import Experiment


def conditions_of(experiment: Experiment, facts: Facts) -> Conditions:
    """What the experiment's network is told. Raises UserError if the data lacks it."""
    return build_conditions(experiment.condition, facts, draws.uniform)


def network_of(experiment: Experiment, facts: Facts) -> nn.Module:
    """The experiment's network on the CPU, with fresh weights from torch's global generator."""
    diffusion = experiment.diffusion
    return build_network(
        experiment.model,
        tuple(ConditionInput(**part) for part in conditions_of(experiment, facts).inputs),
        facts.shape,
        outputs=2 if diffusion.learned_variance else 1,
        timesteps=diffusion.timesteps if diffusion.discrete else 0,
        family=family_of(experiment.data),
    )


def placed(network: nn.Module, experiment: Experiment, device: torch.device, *, spread: bool = False) -> nn.Module:
    """`network` on `device`, as it runs fastest there: images channels-last, GroupNorm by fused kernels where they run.

    `spread`: it stays where it is, to be spread over devices from there.
    """
    if not spread:
        network = network.to(device)
    if not spread and family_of(experiment.data) == "image":
        network = network.to(memory_format=torch.channels_last)
    fuse(network, experiment.hardware.fused_kernels and available(device))
    return network
