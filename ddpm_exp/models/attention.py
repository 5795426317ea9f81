"""Looking at a condition's tokens: queries of any network, keys and values of the tokens. The norm before and the sum after
are the network's own."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class CrossAttention(nn.Module):
    """Each of T queries takes a weighted mean of the tokens' values, per head (Vaswani et al. 2017, section 3.2).

    Raises ValueError if the heads do not divide the width.
    """

    def __init__(self, width: int, token_width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"{width} features do not divide into {heads} heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(token_width, 2 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, x: Tensor, tokens: Tensor, visible: Tensor | None = None) -> Tensor:
        """[B, T, width] to be added to the queries x [B, T, width], from tokens [B, L, token_width].

        `visible`, bool [B, L], says which tokens may be looked at (None: all of them). One per row at least is: a
        `ConditionEncoder` puts a learnt token where nothing was said, for a softmax over nothing would be 0 or NaN, as
        version and kernel have it.
        """
        batch, length, width = x.shape
        head = width // self.heads
        q = self.query(x).view(batch, length, self.heads, head).transpose(1, 2)
        k, v = self.key_value(tokens).view(batch, tokens.shape[1], 2, self.heads, head).permute(2, 0, 3, 1, 4).unbind(0)
        mask = None if visible is None else visible[:, None, None, :]
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        branch: Tensor = self.merge(seen.transpose(1, 2).reshape(batch, length, width))
        return branch
