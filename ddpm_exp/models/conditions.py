"""Class labels as features of the time embedding. Prompts are in `text`."""

from __future__ import annotations

from torch import Tensor, nn


class ClassFeatures(nn.Module):
    """One learnt vector per class, and one more for "no class said"."""

    def __init__(self, classes: int, out: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, out)

    def forward(self, labels: Tensor) -> Tensor:
        """[B, out] from labels, int64 [B] in 0..classes; `classes` is the null label."""
        features: Tensor = self.embedding(labels)
        return features
