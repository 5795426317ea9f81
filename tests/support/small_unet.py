"""A U-Net small enough for tests, in every choice of its spec, and images for it."""

from __future__ import annotations

import torch
from support.network_inputs import NONE

from ddpm_exp.models.build import build_network
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.models.unet import UNetNetwork
from ddpm_exp.spec.data import Shape
from ddpm_exp.spec.model import UNet

SMALL = UNet(base_channels=16, multipliers=(1, 2), attention_resolutions=(8,), groups=8, time_embedding=32, dropout=0.0)
SHAPE = Shape(1, 8, 8)
Inputs = tuple[ConditionInput, ...]

CHOICES = {
    "default": SMALL,
    "adagn": SMALL.but(time_conditioning="adagn"),
    "concatenated": SMALL.but(time_conditioning="concatenated"),
    "interpolation": SMALL.but(resample="interpolation"),
    "scaled": SMALL.but(skip_scaling=True),
    "learned": SMALL.but(time_features="learned"),
    "fourier": SMALL.but(time_features="fourier"),
    "orthogonal": SMALL.but(initialization="orthogonal", zero_init=False),
    "kaiming": SMALL.but(initialization="kaiming", zero_init=False),
}


def build(
    spec: UNet = SMALL, inputs: Inputs = NONE, shape: Shape = SHAPE, *, perturbed: bool = True, outputs: int = 1
) -> UNetNetwork:
    """A network whose branches that start at zero were woken up, as training would."""
    torch.manual_seed(0)
    network = build_network(spec, inputs, shape, outputs=outputs, timesteps=1000)
    assert isinstance(network, UNetNetwork)
    if perturbed:
        for parameter in network.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return network


def images(shape: Shape = SHAPE, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *shape, generator=generator), 900 * torch.rand(count, generator=generator)
