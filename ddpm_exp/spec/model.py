"""The network: how wide, how deep, where it attends."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt, MinLen
from pydantic import model_validator

from ddpm_exp.spec.base import EXECUTION, Spec, broken

Positive = Annotated[int, Ge(1)]


class UNet(Spec):
    """The U-Net of Ho et al. 2020 (appendix B). The defaults are its CIFAR-10 form: 35.7 M parameters."""

    kind: Literal["unet"] = "unet"

    base_channels: Annotated[int, Ge(8), Le(1024)] = 128
    """Channels of the first level."""

    multipliers: Annotated[tuple[Positive, ...], MinLen(1)] = (1, 2, 2, 2)
    """Channels of each level as multiples of `base_channels`; each level but the last halves the image."""

    blocks_per_level: Annotated[int, Ge(1), Le(8)] = 2
    """Residual blocks per level on the way down (one more on the way up)."""

    attention_resolutions: tuple[Positive, ...] = (16,)
    """Image sides, in pixels, at which self-attention follows each residual block."""

    heads: Annotated[int, Ge(1)] = 1
    """Attention heads; the channels of every attending level must divide by it."""

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Dropout inside residual blocks. Guide 003: 0 to 0.2."""

    time_embedding: Annotated[int, Ge(8), Le(4096)] = 512
    """Features of the time embedding after its two-layer network; DDPM takes 4 x base_channels."""

    groups: Annotated[int, Ge(1)] = 32
    """Groups of every GroupNorm; the channels of every level must divide by it."""

    checkpointing: Annotated[bool, EXECUTION] = False
    """Recompute activations in the backward pass: less memory, about a third more time, the same result."""

    @property
    def downsamplings(self) -> int:
        """How often the image is halved."""
        return len(self.multipliers) - 1

    @model_validator(mode="after")
    def _divisible(self) -> UNet:
        for multiplier in self.multipliers:
            channels = self.base_channels * multiplier
            if channels % self.groups:
                raise broken(
                    f"every level's channels must divide by groups = {self.groups}; "
                    f"{self.base_channels} x {multiplier} = {channels} does not",
                    field="base_channels",
                    value=self.base_channels,
                    fix=f"take base_channels = {max(1, round(self.base_channels / self.groups)) * self.groups} or change groups",
                )
            if channels % self.heads:
                raise broken(
                    f"channels must divide by heads; "
                    f"{self.base_channels} x {multiplier} = {channels} does not divide by {self.heads}",
                    field="heads",
                    value=self.heads,
                    fix="take heads = 1 or a divisor of the channels",
                )
        if self.time_embedding % 2:
            raise broken(
                "the sinusoidal time embedding has as many sines as cosines, so its width is even",
                field="time_embedding",
                value=self.time_embedding,
                fix=f"take {self.time_embedding + 1}",
            )
        return self


Model = UNet
"""Any network; becomes a union by `kind` as networks are added."""
