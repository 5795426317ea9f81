"""What every network does alike: embed the time with its condition, and run a block, recomputed in the backward pass or not."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ddpm_exp.models.conditions import Encoded
from ddpm_exp.models.embeddings import TimeEmbedding
from ddpm_exp.models.images import told_by


class ConditionedNetwork(nn.Module):
    """A network with a time embedding `time` and the encoder of its `condition`, or None.

    `checkpointing` may be set at any time: activations of each block are then recomputed in the backward pass, with the
    same dropout, and results are the same bit for bit.
    """

    checkpointing: bool
    time: TimeEmbedding
    condition: nn.Module | None

    def _listen(self, c_noise: Tensor, condition: dict[str, Tensor] | None) -> tuple[Encoded, Tensor]:
        """The encoded condition, and SiLU of the time embedding plus the condition's features, float32 [B, E].

        Raises ValueError if a part of the condition is missing or was not built for: it would be ignored.
        """
        told = told_by(self.condition, condition)
        embedding: Tensor = self.time(c_noise)
        if told.embedding is not None:
            embedding = embedding + told.embedding.float()
        return told, F.silu(embedding)

    def _run(self, block: nn.Module, x: Tensor, *beside: Tensor | None) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            # Without torch's check that shapes and devices come out the same: they do, and memory's trace disguises devices.
            recomputed: Tensor = checkpoint(
                block, x, *beside, use_reentrant=False, preserve_rng_state=True, determinism_check="none"
            )
            return recomputed
        result: Tensor = block(x, *beside)
        return result
