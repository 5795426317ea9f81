"""From a model's spec to its network: the one door into this room. Knows nothing of diffusion, data or devices."""

from __future__ import annotations

from torch import nn

from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.data import Family
from ddpm_exp.spec.model import DiT, EncoderDecoder, Model, UNet


def build_network(
    model: Model,
    inputs: tuple[ConditionInput, ...],
    shape: tuple[int, ...],
    *,
    outputs: int = 1,
    timesteps: int = 0,
    family: Family | None = None,
) -> nn.Module:
    """A network with forward(x, c_noise, condition) -> [B, outputs * C, ...], of fresh weights from torch's global generator.

    x: float [B, *shape]. c_noise: float [B], also between whole indices. condition: None if `inputs` is empty, else a dict
    with one tensor per input, under its kind. `outputs` = 2 doubles the channels of the output, for a learnt variance.
    `timesteps`: whole times of the schedule, which `time_features = "learned"` needs.
    `family`: what an example is, for a shape [a, b] alone does not tell a sequence, which it is taken for, from points.

    Raises ValueError for a shape of another family than the network is for, or a table of times without times.
    """
    # A network's file is read when it is asked for: a U-Net needs no transformer.
    if isinstance(model, UNet):
        from ddpm_exp.models.unet import UNetNetwork

        return UNetNetwork(model, inputs, shape, outputs=outputs, timesteps=timesteps)
    if isinstance(model, EncoderDecoder):
        from ddpm_exp.models.encoder_decoder import EncoderDecoderNetwork

        return EncoderDecoderNetwork(model, inputs, shape, outputs=outputs, timesteps=timesteps)
    if isinstance(model, DiT):
        from ddpm_exp.models.dit import DiTNetwork

        return DiTNetwork(model, inputs, shape, outputs=outputs, timesteps=timesteps, points=family == "points")
    from ddpm_exp.models.mlp import MLPNetwork

    return MLPNetwork(model, inputs, shape, outputs=outputs, timesteps=timesteps)
