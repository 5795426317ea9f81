"""The networks: how wide, how deep, how they are told the time. Nothing of diffusion."""

from __future__ import annotations

from math import gcd
from typing import Annotated, Literal

from annotated_types import Ge, Le, Lt, MinLen
from pydantic import Field, model_validator

from ddpm_exp.spec.base import EXECUTION, Spec, broken

Positive = Annotated[int, Ge(1)]


class Network(Spec):
    """What every network may choose."""

    time_features: Literal["sinusoidal", "learned", "fourier"] = "sinusoidal"
    """What the noise level becomes before its two-layer network: `sinusoidal`, fixed frequencies (Vaswani et al. 2017);
    `learned`, an embedding per whole time, interpolated between (guide 002; schedules on whole times only); `fourier`, random
    frequencies (Song et al. 2021), for noise levels that are logarithms, as on `ve`."""

    initialization: Literal["default", "orthogonal", "kaiming"] = "default"
    """Weights before training: the network's own paper's, orthogonal, or Kaiming-normal (guide 000: "try different
    initialization")."""

    zero_init: bool = True
    """Begin with the last map of every residual branch, and of the network, at zero, and with scales and shifts (AdaGN, AdaLN)
    that change nothing: an untrained network says 0."""

    checkpointing: Annotated[bool, EXECUTION] = False
    """Recompute activations in the backward pass: less memory, about a third more time, the same result."""


class UNet(Network):
    """The U-Net of Ho et al. 2020 (appendix B). The defaults are its CIFAR-10 form: 35.7 M parameters."""

    kind: Literal["unet"] = "unet"

    base_channels: Annotated[int, Ge(8), Le(1024)] = 128
    """Channels of the first level."""

    multipliers: Annotated[tuple[Positive, ...], MinLen(1)] = (1, 2, 2, 2)
    """Channels of each level as multiples of `base_channels`; each level but the last halves the image."""

    blocks_per_level: Annotated[int, Ge(1), Le(8)] = 2
    """Residual blocks per level on the way down (one more on the way up)."""

    attention_resolutions: tuple[Positive, ...] = (16,)
    """Image sides, in pixels, at which self-attention follows each residual block; cross-attention, if a condition asks for
    it, stands there too and in the middle."""

    heads: Annotated[int, Ge(1)] = 1
    """Attention heads; the channels of every attending level must divide by it."""

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.1
    """Dropout inside residual blocks. Guide 003: 0 to 0.2."""

    time_embedding: Annotated[int, Ge(8), Le(4096)] = 512
    """Features of the time embedding after its two-layer network; DDPM takes 4 x base_channels."""

    time_conditioning: Literal["additive", "adagn", "concatenated"] = "additive"
    """How blocks are told the time: added to their activations (Ho et al. 2020); as scale and shift of the second GroupNorm
    (Dhariwal & Nichol 2021, guide 002's advice for images); or as so many channels again of the second convolution's input."""

    resample: Literal["conv", "interpolation"] = "conv"
    """Halve by a strided convolution and double by repeating pixels before one; or average and repeat pixels alone, which has
    no weights."""

    skip_scaling: bool = False
    """Divide the sum of each branch and its input by the square root of 2, so that it keeps their variance (Song et al. 2021)."""

    groups: Annotated[int, Ge(1)] = 32
    """Groups of every GroupNorm; the channels of every level must divide by it."""

    @property
    def downsamplings(self) -> int:
        """How often the image is halved."""
        return len(self.multipliers) - 1

    @model_validator(mode="after")
    def _divisible(self) -> UNet:
        for multiplier in self.multipliers:
            if self.base_channels * multiplier % self.groups:
                raise broken(
                    f"every level's channels must divide by groups = {self.groups}; {self.base_channels} x {multiplier} does not",
                    field="base_channels",
                    value=self.base_channels,
                    fix=f"take base_channels = {max(1, round(self.base_channels / self.groups)) * self.groups} or change groups",
                )
        _heads_divide(self.base_channels * gcd(*self.multipliers), self.heads, "every level's channels")
        if len(set(self.attention_resolutions)) < len(self.attention_resolutions):
            raise broken(
                "each attention resolution is named once",
                field="attention_resolutions",
                value=self.attention_resolutions,
                fix=f"write {tuple(dict.fromkeys(self.attention_resolutions))}",
            )
        _even("time_embedding", self.time_embedding)
        return self


class EncoderDecoder(Network):
    """Guide 000's simple convolutional encoder and decoder: two halvings, two doublings, skips between. About 0.5, 2 and 8 M
    parameters at `hidden_dim` 128, 256 and 512."""

    kind: Literal["encoder-decoder"] = "encoder-decoder"

    hidden_dim: Annotated[int, Ge(16), Le(2048)] = 256
    """Channels in the middle; the outer levels have half and a quarter. Guide 000: 128 to 512."""

    time_emb_dim: Annotated[int, Ge(8), Le(4096)] = 128
    """Features of the time embedding. Guide 000: 64 to 256, "hidden_dim // 2 or hidden_dim"."""

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Dropout before each second convolution."""

    @property
    def downsamplings(self) -> int:
        """How often the image is halved."""
        return 2

    @model_validator(mode="after")
    def _divisible(self) -> EncoderDecoder:
        if self.hidden_dim % 16:
            raise broken(
                "the outer level has a quarter of hidden_dim, normalised in four groups or more",
                field="hidden_dim",
                value=self.hidden_dim,
                fix=f"take hidden_dim = {max(1, round(self.hidden_dim / 16)) * 16}",
            )
        _even("time_emb_dim", self.time_emb_dim)
        return self


class MLP(Network):
    """Residual blocks of two linear maps after a LayerNorm, for tables and other vectors (guide 002)."""

    kind: Literal["mlp"] = "mlp"

    hidden_dim: Annotated[int, Ge(8), Le(8192)] = 256
    """Features of the residual stream. Guide 002: 256."""

    layers: Annotated[int, Ge(1), Le(64)] = 4
    """Residual blocks. Guide 002: 4."""

    time_embedding: Annotated[int, Ge(8), Le(4096)] = 128
    """Features of the time embedding."""

    time_conditioning: Literal["concatenated", "additive", "adaln"] = "concatenated"
    """How blocks are told the time and their condition: as further inputs (guide 002's advice for tables), added to their
    activations, or as scale and shift of their LayerNorm."""

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Dropout inside residual blocks."""

    heads: Annotated[int, Ge(1)] = 4
    """Heads of cross-attention, if a condition asks for it; `hidden_dim` must then divide by it."""

    @model_validator(mode="after")
    def _divisible(self) -> MLP:
        _even("time_embedding", self.time_embedding)
        return self


class DiT(Network):
    """The diffusion transformer of Peebles & Xie 2023, AdaLN-zero: patches of images, steps of sequences, points of clouds."""

    kind: Literal["dit"] = "dit"

    width: Annotated[int, Ge(8), Le(8192)] = 384
    """Features per token."""

    depth: Annotated[int, Ge(1), Le(128)] = 12
    """Transformer blocks."""

    heads: Annotated[int, Ge(1)] = 6
    """Attention heads; `width` must divide by it."""

    patch: Annotated[int, Ge(1), Le(64)] = 4
    """Side of the square patches that an image, or length of the pieces that a sequence, is cut into. Points are tokens as they
    are, whatever this says."""

    mlp_ratio: Annotated[float, Ge(1), Le(16)] = 4.0
    """Width of each block's two-layer network as a multiple of `width`."""

    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Dropout after attention and inside the two-layer networks."""

    positions: Literal["auto", "none"] = "auto"
    """`auto`: sines and cosines of the place, in two dimensions for images and one for sequences; a cloud's points have none.
    `none`: the network cannot tell places apart."""

    @classmethod
    def S(cls, patch: int = 4) -> DiT:  # noqa: N802 - the paper's name of the size
        """33 M parameters."""
        return cls(width=384, depth=12, heads=6, patch=patch)

    @classmethod
    def B(cls, patch: int = 4) -> DiT:  # noqa: N802
        """130 M parameters."""
        return cls(width=768, depth=12, heads=12, patch=patch)

    @classmethod
    def L(cls, patch: int = 4) -> DiT:  # noqa: N802
        """458 M parameters."""
        return cls(width=1024, depth=24, heads=16, patch=patch)

    @classmethod
    def XL(cls, patch: int = 4) -> DiT:  # noqa: N802
        """675 M parameters."""
        return cls(width=1152, depth=28, heads=16, patch=patch)

    @model_validator(mode="after")
    def _divisible(self) -> DiT:
        _heads_divide(self.width, self.heads, "width")
        if self.width % 4:
            raise broken(
                "positions in two dimensions take a quarter of the width for each sine and cosine",
                field="width",
                value=self.width,
                fix=f"take width = {-(-self.width // 4) * 4}",
            )
        return self


def _even(field: str, value: int) -> None:
    if value % 2:
        raise broken(
            "the sinusoidal time embedding has as many sines as cosines, so its width is even",
            field=field,
            value=value,
            fix=f"take {value + 1}",
        )


def _heads_divide(width: int, heads: int, what: str) -> None:
    if width % heads:
        raise broken(
            f"{what} must divide by heads; {width} does not divide by {heads}",
            field="heads",
            value=heads,
            fix=f"take heads = 1 or a divisor of {width}",
        )


Model = Annotated[UNet | EncoderDecoder | MLP | DiT, Field(discriminator="kind")]
"""Any network."""
