"""One module per kind of condition: its tensor to features, or to tokens to look at. Prompts in token ids are in `text`.

`forward` gives one vector of `out` features per example. `tokens` gives [B, L, out] and which of them are visible, bool [B, L],
never none of a row; None: all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ddpm_exp.models.text import mean_of_words, null_token_first


class ClassFeatures(nn.Module):
    """One learnt vector per class, and one more for "no class said"."""

    def __init__(self, classes: int, out: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes + 1, out)

    def forward(self, labels: Tensor) -> Tensor:
        """[B, out] from labels, int64 [B] in 0..classes; `classes` is the null label."""
        features: Tensor = self.embedding(labels)
        return features

    def tokens(self, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """One token, always visible."""
        return self(labels).unsqueeze(1), None


class StateFeatures(nn.Module):
    """Token states of a frozen text encoder, normalised, because encoders differ in their scale, and mapped to `out` features."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.null = nn.Parameter(torch.randn(width))
        self.out = nn.Linear(width, out)

    def forward(self, states: Tensor) -> Tensor:
        """[B, out], the mean over words, from states [B, L, width + 1], of which the last feature is 1 where a word is."""
        x, word, empty = self._read(states)
        features: Tensor = self.out(torch.where(empty, self.null.to(x.dtype), mean_of_words(x, word)))
        return features

    def tokens(self, states: Tensor) -> tuple[Tensor, Tensor | None]:
        """A token per word; where there are none, the learnt vector is the one token."""
        x, word, empty = self._read(states)
        x, visible = null_token_first(x, word, empty, self.null)
        return self.out(x), visible

    def _read(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        word = states[..., -1] > 0.5
        return self.norm(states[..., :-1]), word, ~word.any(1, keepdim=True)


class ValueFeatures(nn.Module):
    """Numbers and their flags through a two-layer network, or, if `layers` is 1, through one linear map."""

    def __init__(self, count: int, out: int, *, layers: int = 2) -> None:
        super().__init__()
        first = nn.Linear(2 * count, out)
        self.network = first if layers == 1 else nn.Sequential(first, nn.SiLU(), nn.Linear(out, out))

    def forward(self, values: Tensor) -> Tensor:
        """[B, out] from values [B, 2 count]: `count` numbers, then 1 for each that is said."""
        features: Tensor = self.network(values)
        return features


class ValueTokens(nn.Module):
    """A token per number: the number times a learnt direction, plus a learnt place."""

    def __init__(self, count: int, out: int) -> None:
        super().__init__()
        self.count = count
        self.direction = nn.Parameter(torch.randn(count, out))
        self.place = nn.Parameter(torch.randn(count, out))
        self.null = nn.Parameter(torch.randn(out))

    def tokens(self, values: Tensor) -> tuple[Tensor, Tensor | None]:
        """[B, count, out] from values [B, 2 count]; a number that is not said is not visible, and where none is, the learnt
        vector is the one token."""
        said = values[:, self.count :] > 0.5
        x = values[:, : self.count, None] * self.direction + self.place
        return null_token_first(x, said, ~said.any(1, keepdim=True), self.null)
