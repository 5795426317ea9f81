"""Dropout whose mask is a function of (key of the image, layer, element): the same however a step is sliced. Draws no keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GOLDEN, FIRST, SECOND = 0x9E3779B9, 0x7FEB352D, 0x846CA68B
"""Multipliers of the mixer (odd, so that multiplying loses nothing)."""


class Keys:
    """The keys of the images in the batch that is now in the network, shared by all of its dropouts."""

    words: Tensor | None = None
    """int32 [B] on the network's device; None: torch's own generator draws the masks."""


class KeyedDropout(nn.Module):
    """Zeroes each element with probability `p` in training and divides the others by 1 - p (Srivastava et al. 2014).

    With keys, element e of an image is kept by a hash of (the image's key, this layer, e): see `kept`.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.layer = 0
        self.keys = Keys()

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] from x [B, ...]."""
        words = self.keys.words
        if not self.active:
            return x
        if words is None:
            return F.dropout(x, self.p)
        return torch.where(kept(words, x, self.layer, self.p), x * (1.0 / (1.0 - self.p)), 0.0)

    @property
    def active(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self.p > 0.0

    def extra_repr(self) -> str:
        """For printing the network."""
        return f"p={self.p}"


def share_keys(network: nn.Module) -> Keys:
    """One `Keys` for every dropout in `network`, and a number for each."""
    keys = Keys()
    for layer, module in enumerate(module for module in network.modules() if isinstance(module, KeyedDropout)):
        module.layer, module.keys = layer, keys
    return keys


def threshold(p: float) -> int:
    """The signed 32-bit number below which a hash drops its element."""
    return min(round(p * 2**32), 2**32 - 1) - 2**31


def layer_word(layer: int) -> int:
    """A signed 32-bit number that tells the layers of a network apart."""
    return _signed((layer + 1) * 0x85EBCA6B)


def kept(words: Tensor, x: Tensor, layer: int, p: float) -> Tensor:
    """bool, of the shape of `x` [B, ...]: which of its elements stay. `words`: int32 [B], the keys of its images.

    Elements of an image [C, H, W] are numbered with the channels fastest, of others with the last axis fastest. The hash mixes
    the number and the layer, then that and the key; products of 32-bit integers wrap. `fused_kernels` computes the same.
    """
    number = _mixed((_numbers(x) ^ layer_word(layer)) * _signed(GOLDEN))
    return _mixed(number ^ words.view(-1, *(1,) * (x.dim() - 1))) >= threshold(p)


def _mixed(x: Tensor) -> Tensor:
    """A bijection of 32-bit words whose upper bits depend on every bit of `x`, int32."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * FIRST
    return (x ^ ((x >> 15) & 0x1FFFF)) * _signed(SECOND)


def _numbers(x: Tensor) -> Tensor:
    """int32 [1, ...]"""

    def count(n: int) -> Tensor:
        return torch.arange(n, dtype=torch.int32, device=x.device)

    if x.dim() != 4:
        return count(x[0].numel()).view(1, *x.shape[1:])
    _, channels, height, width = x.shape
    return count(height * width).view(1, 1, height, width) * channels + count(channels).view(1, channels, 1, 1)


def _signed(word: int) -> int:
    """The low 32 bits as a signed number."""
    word &= 0xFFFFFFFF
    return word - 2**32 if word >= 2**31 else word
