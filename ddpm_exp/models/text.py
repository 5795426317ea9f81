"""A small text encoder, trained with the network: token ids to features, or to a state per word. Makes no token ids."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PADDING = 0


def _heads(width: int) -> int:
    """The most heads, up to four, into which the width divides."""
    return next(heads for heads in (4, 2, 1) if width % heads == 0)


class TransformerLayer(nn.Module):
    """Self-attention over the words and a two-layer network, each after a LayerNorm and added to its input (pre-norm)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = _heads(width)
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.network_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """[B, L, width] from [B, L, width]; `visible`, bool [B, 1, 1, L], says which words may be looked at."""
        batch, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
        x = x + self.merge(seen.transpose(1, 2).reshape(batch, length, width))
        result: Tensor = x + self.network(self.network_norm(x))
        return result


class TextEncoder(nn.Module):
    """Words and positions through transformer layers, averaged over the words, mapped to `out` features.

    A prompt of padding alone (the null prompt) has a learnt vector in place of the average. With no layers the average
    is of the word embeddings themselves, in which position has no part.
    """

    def __init__(self, *, vocabulary: int, length: int, width: int, layers: int, out: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width)) if layers else None
        self.layers = nn.ModuleList(TransformerLayer(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width) if layers else nn.Identity()
        self.null = nn.Parameter(torch.randn(width))
        self.out = nn.Linear(width, out)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, out] from token ids, int64 [B, L], L at most `length`; id 0 is padding and is never looked at."""
        x, word, empty = self._read(tokens)
        features: Tensor = self.out(torch.where(empty, self.null.to(x.dtype), mean_of_words(x, word)))
        return features

    def tokens(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """A token per word, [B, L, out], and which of them are words, bool [B, L]. The null prompt is one token, the learnt
        vector."""
        x, word, empty = self._read(tokens)
        x, visible = null_token_first(x, word, empty, self.null)
        return self.out(x), visible

    def _read(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States [B, L, width], which of them are words [B, L] and which prompts have none [B, 1]."""
        word = tokens != PADDING
        empty = ~word.any(1, keepdim=True)
        x: Tensor = self.words(tokens)
        if self.positions is not None:
            x = x + self.positions[: tokens.shape[1]]
        # An empty prompt looks at its padding: a softmax over nothing is 0 or NaN, as version and kernel would have it, and a
        # NaN reaches the gradients even where `where` drops it.
        visible = (word | empty)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, visible)
        return self.norm(x), word, empty


def mean_of_words(x: Tensor, word: Tensor) -> Tensor:
    """[B, width], the mean of those of x [B, L, width] where `word`, bool [B, L], is set; 0 where none is."""
    share = word.to(x.dtype).unsqueeze(-1)
    return (x * share).sum(1) / share.sum(1).clamp(min=1.0)


def null_token_first(x: Tensor, word: Tensor, empty: Tensor, null: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens x [B, L, width] and their visibility [B, L], with `null` [width] as the one visible token of rows that `empty`
    [B, 1] marks."""
    first = torch.zeros_like(word)
    first[:, 0] = True
    here = empty & first
    return torch.where(here.unsqueeze(-1), null.to(x.dtype), x), word | here
