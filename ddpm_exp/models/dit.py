"""The diffusion transformer (Peebles & Xie 2023): patches of images, pieces of sequences or points, AdaLN-zero."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ddpm_exp.models.attention import CrossAttention
from ddpm_exp.models.condition_parts import ClassFeatures
from ddpm_exp.models.conditioned import ConditionedNetwork
from ddpm_exp.models.conditions import ConditionEncoder
from ddpm_exp.models.dropout import KeyedDropout
from ddpm_exp.models.embeddings import TimeEmbedding
from ddpm_exp.models.images import beside
from ddpm_exp.models.initial import initial_weights, start_at_zero, weights_like_ddpm
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.models.positions import cut, places, put_together
from ddpm_exp.spec.model import DiT

NORM_EPS = 1e-6

TIME_FEATURES = 256
"""Features of the noise level before the two-layer network, in every size of the paper's."""

SMALL_STD = 0.02
"""Standard deviation of the paper's initial tables and time embedding."""


class DiTBlock(nn.Module):
    """Self-attention, a look at the condition's tokens if there are any, a two-layer network; each after a LayerNorm.

    Scale and shift of the first and the last, and a gate on what they add, are linear in the embedding (AdaLN-zero, section
    3.2). Looking at tokens has neither: it is the paper's "cross-attention block", between the two.
    """

    def __init__(self, width: int, *, heads: int, mlp_ratio: float, dropout: float, looks: bool) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.heads = heads
        self.modulation = nn.Linear(width, 6 * width)
        self.attention_norm = plain_norm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.dropout = KeyedDropout(dropout)
        self.look_norm = nn.LayerNorm(width, eps=NORM_EPS) if looks else None
        self.look = CrossAttention(width, width, heads) if looks else None
        self.network_norm = plain_norm(width)
        self.network = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(approximate="tanh"), KeyedDropout(dropout), nn.Linear(hidden, width)
        )

    def forward(self, x: Tensor, embedding: Tensor, tokens: Tensor | None = None, visible: Tensor | None = None) -> Tensor:
        """[B, T, width] from x [B, T, width], SiLU of the embedding, [B, width], and the condition's tokens [B, L, width]."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(embedding).unsqueeze(1).chunk(6, dim=2)
        x = x + gate1 * self.dropout(self._attend(self.attention_norm(x) * (1 + scale1) + shift1))
        if self.look is not None and self.look_norm is not None and tokens is not None:
            x = x + self.dropout(self.look(self.look_norm(x), tokens, visible))
        result: Tensor = x + gate2 * self.network(self.network_norm(x) * (1 + scale2) + shift2)
        return result

    def _attend(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        merged: Tensor = self.merge(seen)
        return merged


class DiTNetwork(ConditionedNetwork):
    """Tokens with places through blocks, and back. Of `points`, each is a token without a place: whatever their order, the
    output is in the same.

    Raises ValueError for a vector, or a shape that patches do not cut without a rest.
    """

    positions: Tensor | None

    def __init__(
        self,
        spec: DiT,
        inputs: tuple[ConditionInput, ...],
        shape: tuple[int, ...],
        *,
        outputs: int = 1,
        timesteps: int = 0,
        points: bool = False,
    ) -> None:
        super().__init__()
        channels, *sizes = shape
        self.patch = 1 if points else spec.patch
        if len(sizes) not in (1, 2) or any(size % self.patch for size in sizes):
            raise ValueError(f"a transformer of patch {self.patch} does not cut examples of shape {shape} into tokens")
        self.spec, self.inputs, self.shape, self.outputs, self.timesteps = spec, inputs, tuple(shape), outputs, timesteps
        self.checkpointing = spec.checkpointing
        width = spec.width
        # Made first and set last, after the initial weights: a condition's encoder keeps those that it chose.
        condition = ConditionEncoder(inputs, embedding=width, token_width=width) if inputs else None
        looks = any(part.by == "cross-attention" for part in inputs)
        in_patch = self.patch ** len(sizes)

        self.time = TimeEmbedding(spec, TIME_FEATURES, width, timesteps)
        self.first = nn.Linear((channels + (0 if condition is None else condition.channels)) * in_patch, width)
        self.blocks = nn.ModuleList(
            DiTBlock(width, heads=spec.heads, mlp_ratio=spec.mlp_ratio, dropout=spec.dropout, looks=looks)
            for _ in range(spec.depth)
        )
        self.last_norm = plain_norm(width)
        self.last_modulation = nn.Linear(width, 2 * width)
        self.last = nn.Linear(width, outputs * channels * in_patch)
        known = None if points or spec.positions == "none" else places(tuple(size // self.patch for size in sizes), width)
        self.register_buffer("positions", known, persistent=False)
        self._initial_weights()
        self.condition = condition
        if spec.initialization == "default" and condition is not None:
            self._small_class_table(condition)

    def _initial_weights(self) -> None:
        initial_weights(self, self.spec.initialization, default=weights_like_ddpm)
        if self.spec.initialization == "default":
            for part in self.time.network:
                if isinstance(part, nn.Linear):
                    nn.init.normal_(part.weight, std=SMALL_STD)
        if not self.spec.zero_init:
            return
        for block in self.blocks:
            assert isinstance(block, DiTBlock)
            start_at_zero(block.modulation)
            if block.look is not None:
                start_at_zero(block.look.merge)
        start_at_zero(self.last_modulation)
        start_at_zero(self.last)

    def _small_class_table(self, condition: ConditionEncoder) -> None:
        """The class beside the time, in the size of the time's own embedding (the paper's code)."""
        for part in self.inputs:
            if part.kind == "class" and part.by == "embedding":
                features = condition.get_submodule("class_part")
                assert isinstance(features, ClassFeatures)
                nn.init.normal_(features.embedding.weight, std=SMALL_STD)

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """[B, outputs * C, ...] from x [B, C, H, W] or [B, C, L], c_noise float [B] and the condition that the network was built
        for.

        Raises ValueError if a part of the condition is missing or was not built for: it would be ignored.
        """
        told, embedding = self._listen(c_noise, condition)
        # The sum that runs through all blocks stays in float32 under autocast; each branch is in 16 bits.
        h = self.first(cut(beside(x, told.channels), self.patch)).float()
        if self.positions is not None:
            h = h + self.positions
        for block in self.blocks:
            h = self._run(block, h, embedding, told.tokens, told.visible)
        shift, scale = self.last_modulation(embedding).unsqueeze(1).chunk(2, dim=2)
        tokens = self.last(self.last_norm(h) * (1 + scale) + shift)
        return put_together(tokens, self.shape[1:], self.patch)


def plain_norm(width: int) -> nn.LayerNorm:
    """A LayerNorm without weights: scale and shift come from the embedding."""
    return nn.LayerNorm(width, elementwise_affine=False, eps=NORM_EPS)
