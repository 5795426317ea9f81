"""Residual blocks of two linear maps for tables and other vectors (guide 002, "For Tabular Data: MLP")."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_exp.models.attention import CrossAttention
from ddpm_exp.models.conditioned import ConditionedNetwork
from ddpm_exp.models.conditions import ConditionEncoder
from ddpm_exp.models.dropout import KeyedDropout
from ddpm_exp.models.embeddings import TimeEmbedding
from ddpm_exp.models.images import beside
from ddpm_exp.models.initial import initial_weights, start_at_zero, weights_of_torch
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.model import MLP


class MLPBlock(nn.Module):
    """LayerNorm, linear, SiLU, dropout, linear, added to the input; then, if the condition has tokens, a look at them.

    The block is told the embedding beside the first map's input (`concatenated`), mapped and added to its output
    (`additive`), or mapped to scale and shift of the LayerNorm's output, which is multiplied by 1 + scale (`adaln`).
    """

    def __init__(
        self,
        width: int,
        embedding: int,
        *,
        dropout: float,
        conditioning: Literal["concatenated", "additive", "adaln"],
        heads: int = 0,
    ) -> None:
        super().__init__()
        self.conditioning = conditioning
        self.norm = nn.LayerNorm(width)
        self.embedding: nn.Linear | None = None
        if conditioning != "concatenated":
            self.embedding = nn.Linear(embedding, 2 * width if conditioning == "adaln" else width)
        self.linear1 = nn.Linear(width + (embedding if conditioning == "concatenated" else 0), width)
        self.dropout = KeyedDropout(dropout)
        self.linear2 = nn.Linear(width, width)
        self.look_norm = nn.LayerNorm(width) if heads else None
        self.look = CrossAttention(width, embedding, heads) if heads else None

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor | None = None, visible: Tensor | None = None) -> Tensor:
        """[B, width] from x [B, width], SiLU of the embedding, [B, embedding], and tokens [B, L, embedding] if any."""
        h = self.norm(x)
        if self.embedding is None:
            h = self.linear1(torch.cat([h, embedding.to(h.dtype)], dim=1))
        elif self.conditioning == "additive":
            h = self.linear1(h) + self.embedding(embedding)
        else:
            scale, shift = self.embedding(embedding).chunk(2, dim=1)
            h = self.linear1(h * (1 + scale) + shift)
        x = x + self.linear2(self.dropout(F.silu(h)))
        if self.look is not None and self.look_norm is not None and tokens is not None:
            x = x + self.look(self.look_norm(x).unsqueeze(1), tokens, visible).squeeze(1)
        return x


class MLPNetwork(ConditionedNetwork):
    """A linear map in, `layers` blocks, a LayerNorm and a linear map out. Neighbouring features mean nothing.

    What a condition says by concatenation lies beside the input features.

    Raises ValueError if `shape` is no vector's.
    """

    def __init__(
        self, spec: MLP, inputs: tuple[ConditionInput, ...], shape: tuple[int, ...], *, outputs: int = 1, timesteps: int = 0
    ) -> None:
        super().__init__()
        if len(shape) != 1:
            raise ValueError(f"this network draws vectors, of one size (features,), not examples of shape {shape}")
        self.checkpointing = spec.checkpointing
        told, width = spec.time_embedding, spec.hidden_dim
        condition = ConditionEncoder(inputs, embedding=told, token_width=told) if inputs else None
        looks = any(part.by == "cross-attention" for part in inputs)

        self.time = TimeEmbedding(spec, told, told, timesteps)
        self.first = nn.Linear(shape[0] + (0 if condition is None else condition.channels), width)
        self.blocks = nn.ModuleList(
            MLPBlock(
                width,
                told,
                dropout=spec.dropout,
                conditioning=spec.time_conditioning,
                heads=spec.heads if looks else 0,
            )
            for _ in range(spec.layers)
        )
        self.last_norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, outputs * shape[0])

        initial_weights(self, spec.initialization, default=weights_of_torch)
        if spec.zero_init:
            self._start_at_zero()
        self.condition = condition

    def _start_at_zero(self) -> None:
        for block in self.blocks:
            assert isinstance(block, MLPBlock)
            start_at_zero(block.linear2)
            if block.conditioning == "adaln" and block.embedding is not None:
                start_at_zero(block.embedding)
            if block.look is not None:
                start_at_zero(block.look.merge)
        start_at_zero(self.last)

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """[B, outputs * F] from x [B, F], c_noise float [B] and the condition that the network was built for.

        Raises ValueError if a part of the condition is missing or was not built for: it would be ignored.
        """
        told, embedding = self._listen(c_noise, condition)
        h = self.first(beside(x, told.channels))
        for block in self.blocks:
            h = self._run(block, h, embedding, told.tokens, told.visible)
        result: Tensor = self.last(self.last_norm(h))
        return result
