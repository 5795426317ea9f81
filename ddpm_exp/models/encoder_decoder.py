"""Guide 000's convolutional encoder and decoder: two halvings, a middle, two doublings, skips between them."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor, nn

from ddpm_exp.models.blocks import doubled
from ddpm_exp.models.conditioned import ConditionedNetwork
from ddpm_exp.models.conditions import ConditionEncoder
from ddpm_exp.models.dropout import KeyedDropout
from ddpm_exp.models.embeddings import TimeEmbedding
from ddpm_exp.models.group_norm import Norm, without_bias
from ddpm_exp.models.images import beside, image_shape
from ddpm_exp.models.initial import initial_weights, start_at_zero, weights_of_torch
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.model import EncoderDecoder


def groups_of(channels: int) -> int:
    """Groups of a GroupNorm: eight, or the most below into which the channels divide."""
    return gcd(channels, 8)


class Stage(nn.Module):
    """Two convolutions, each after GroupNorm and SiLU, with the embedding added between them; the first may halve the side."""

    def __init__(self, channels: int, out: int, embedding: int, *, dropout: float, halve: bool = False) -> None:
        super().__init__()
        self.norm1 = Norm(groups_of(channels), channels)
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, stride=2 if halve else 1)
        self.embedding = nn.Linear(embedding, out)
        self.norm2 = Norm(groups_of(out), out)
        self.dropout = KeyedDropout(dropout)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, out, H, W], or half the sides, from x [B, channels, H, W] and SiLU of the embedding, [B, embedding]."""
        h, told = self.norm1(x, silu=True), self.embedding(embedding)
        if self.norm2.fused and self.conv1.bias is not None:
            h, told = without_bias(self.conv1, h), told + self.conv1.bias
        else:
            h = self.conv1(h)
        result: Tensor = self.conv2(self.norm2.told(h, add=told, scale=None, shift=None, dropout=self.dropout))
        return result


class EncoderDecoderNetwork(ConditionedNetwork):
    """A quarter, half and all of `hidden_dim` channels at the whole, half and quarter side. No stage adds its own input.

    Raises ValueError if `shape` is no image's, or a condition is to be looked at: there is no attention.
    """

    def __init__(
        self,
        spec: EncoderDecoder,
        inputs: tuple[ConditionInput, ...],
        shape: tuple[int, ...],
        *,
        outputs: int = 1,
        timesteps: int = 0,
    ) -> None:
        super().__init__()
        colours, _ = image_shape(shape)
        if any(part.by == "cross-attention" for part in inputs):
            raise ValueError("the encoder-decoder has no attention, so it cannot look at a condition's tokens")
        self.checkpointing = spec.checkpointing
        told = spec.time_emb_dim
        condition = ConditionEncoder(inputs, embedding=told, token_width=told) if inputs else None
        wide = spec.hidden_dim
        half, quarter = wide // 2, wide // 4

        def stage(channels: int, out: int, *, halve: bool = False) -> Stage:
            return Stage(channels, out, told, dropout=spec.dropout, halve=halve)

        self.time = TimeEmbedding(spec, told, told, timesteps)
        self.first = nn.Conv2d(colours + (0 if condition is None else condition.channels), quarter, 3, padding=1)
        self.encoder = nn.ModuleList([stage(quarter, quarter), stage(quarter, half, halve=True)])
        self.middle = stage(half, wide, halve=True)
        self.decoder = nn.ModuleList([stage(wide + half, half), stage(half + quarter, quarter)])
        self.last_norm = Norm(groups_of(quarter), quarter)
        self.last = nn.Conv2d(quarter, outputs * colours, 3, padding=1)

        initial_weights(self, spec.initialization, default=weights_of_torch)
        if spec.zero_init:
            start_at_zero(self.last)
        self.condition = condition

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """[B, outputs * C, H, W] from x [B, C, H, W], c_noise float [B] and the condition that the network was built for.

        Raises ValueError if a part of the condition is missing or was not built for: it would be ignored.
        """
        told, embedding = self._listen(c_noise, condition)
        h = self.first(beside(x, told.channels))
        skips = []
        for stage in self.encoder:
            h = self._run(stage, h, embedding)
            skips.append(h)
        h = self._run(self.middle, h, embedding)
        for stage in self.decoder:
            h = doubled(h)
            h = self._run(stage, torch.cat([h, skips.pop()], dim=1), embedding)
        result: Tensor = self.last(self.last_norm(h, silu=True))
        return result
