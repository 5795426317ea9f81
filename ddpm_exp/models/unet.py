"""The U-Net of DDPM (Ho et al. 2020, appendix B), told its condition by embedding, further channels or tokens to look at."""

from __future__ import annotations

from torch import Tensor, nn

from ddpm_exp.models.blocks import (
    NORM_EPS,
    Average,
    Block,
    Double,
    Halve,
    Repeat,
    ResidualBlock,
    SelfAttention,
    TokenAttention,
)
from ddpm_exp.models.conditioned import ConditionedNetwork
from ddpm_exp.models.conditions import ConditionEncoder
from ddpm_exp.models.embeddings import TimeEmbedding
from ddpm_exp.models.group_norm import Norm
from ddpm_exp.models.images import beside, image_shape
from ddpm_exp.models.initial import initial_weights, start_at_zero, weights_like_ddpm
from ddpm_exp.models.inputs import ConditionInput
from ddpm_exp.spec.model import UNet


class UNetNetwork(ConditionedNetwork):
    """Levels down, a middle, levels up that read what the way down left behind.

    Raises ValueError if `shape` is no image's.
    """

    def __init__(
        self, spec: UNet, inputs: tuple[ConditionInput, ...], shape: tuple[int, ...], *, outputs: int = 1, timesteps: int = 0
    ) -> None:
        super().__init__()
        colours, side = image_shape(shape)
        self.spec, self.inputs, self.shape, self.outputs, self.timesteps = spec, inputs, shape, outputs, timesteps
        self.checkpointing = spec.checkpointing
        # Made first and set last, after the initial weights: a condition's encoder keeps those that it chose.
        condition = ConditionEncoder(inputs, embedding=spec.time_embedding, token_width=spec.time_embedding) if inputs else None
        self.looks = any(part.by == "cross-attention" for part in inputs)
        self.time = TimeEmbedding(spec, spec.base_channels, spec.time_embedding, timesteps)
        widths = [spec.base_channels * multiplier for multiplier in spec.multipliers]
        attends = [side // 2**level in spec.attention_resolutions for level in range(len(widths))]

        self.first = nn.Conv2d(colours + (0 if condition is None else condition.channels), widths[0], 3, padding=1)
        self.down, self.halvings = nn.ModuleList(), nn.ModuleList()
        skips, channels = [widths[0]], widths[0]
        for level, out in enumerate(widths):
            blocks = nn.ModuleList()
            for _ in range(spec.blocks_per_level):
                blocks.append(self._block(channels, out, attention=attends[level]))
                channels = out
                skips.append(channels)
            self.down.append(blocks)
            if level < len(widths) - 1:
                self.halvings.append(Halve(channels) if spec.resample == "conv" else Average())
                skips.append(channels)

        self.middle = nn.ModuleList(
            [self._block(channels, channels, attention=True), self._block(channels, channels, attention=False)]
        )

        self.up, self.doublings = nn.ModuleList(), nn.ModuleList()
        for level, out in reversed(list(enumerate(widths))):
            blocks = nn.ModuleList()
            for _ in range(spec.blocks_per_level + 1):
                blocks.append(self._block(channels + skips.pop(), out, attention=attends[level]))
                channels = out
            self.up.append(blocks)
            if level > 0:
                self.doublings.append(Double(channels) if spec.resample == "conv" else Repeat())

        self.last_norm = Norm(spec.groups, channels, eps=NORM_EPS)
        self.last = nn.Conv2d(channels, outputs * colours, 3, padding=1)
        self._initial_weights()
        self.condition = condition

    def _block(self, channels: int, out: int, *, attention: bool) -> Block:
        spec = self.spec
        residual = ResidualBlock(
            channels,
            out,
            spec.time_embedding,
            groups=spec.groups,
            dropout=spec.dropout,
            conditioning=spec.time_conditioning,
            skip_scaling=spec.skip_scaling,
        )
        if not attention:
            return Block(residual)
        pixels = SelfAttention(out, heads=spec.heads, groups=spec.groups, skip_scaling=spec.skip_scaling)
        if not self.looks:
            return Block(residual, pixels)
        tokens = TokenAttention(out, spec.time_embedding, heads=spec.heads, groups=spec.groups, skip_scaling=spec.skip_scaling)
        return Block(residual, pixels, tokens)

    def _initial_weights(self) -> None:
        initial_weights(self, self.spec.initialization, default=weights_like_ddpm)
        if not self.spec.zero_init:
            return
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                start_at_zero(module.conv2)
                if module.conditioning == "adagn":
                    start_at_zero(module.embedding)
            elif isinstance(module, SelfAttention):
                start_at_zero(module.merge)
            elif isinstance(module, TokenAttention):
                start_at_zero(module.look.merge)
        start_at_zero(self.last)

    def forward(self, x: Tensor, c_noise: Tensor, condition: dict[str, Tensor] | None = None) -> Tensor:
        """[B, outputs * C, H, W] from x [B, C, H, W], c_noise float [B] and the condition that the network was built for.

        Raises ValueError if a part of the condition is missing or was not built for: it would be ignored.
        """
        told, embedding = self._listen(c_noise, condition)
        h = self.first(beside(x, told.channels))
        skips = [h]
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]  # a ModuleList in a ModuleList
                h = self._run(block, h, embedding, told.tokens, told.visible)
                skips.append(h)
            if level < len(self.halvings):
                h = self.halvings[level](h)
                skips.append(h)
        for block in self.middle:
            h = self._run(block, h, embedding, told.tokens, told.visible)
        for level, blocks in enumerate(self.up):
            for block in blocks:  # type: ignore[attr-defined]
                h = self._run(block, h, embedding, told.tokens, told.visible, skips.pop())
            if level < len(self.doublings):
                h = self.doublings[level](h)
        result: Tensor = self.last(self.last_norm(h, silu=True))
        return result
