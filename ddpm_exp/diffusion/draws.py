"""Random numbers as a pure function of (seed, purpose, ordinal, element): the only source of noise. Keeps no state.

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), written in int64
tensor operations, so that CPU and CUDA give the same integers. No call waits for the device or copies to it.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[int, int]) -> Words:
    """Four 32-bit words per counter, as int64 tensors in [0, 2^32).

    `counter`: four int64 tensors of words in [0, 2^32), of shapes that broadcast. `key`: two 32-bit words.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        # 32 x 32 bits fill 64: the sign bit is data, and int64 products wrap. Words 1 and 3 keep rubbish above their
        # 32 bits until the mask after the next exclusive or, which saves two operations of twelve.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = ((p1 >> 32) ^ c1 ^ k0) & _WORD, ((p0 >> 32) ^ c3 ^ k1) & _WORD
        c1, c3 = p1, p0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1 & _WORD, c2, c3 & _WORD


@lru_cache(maxsize=256)
def _key(seed: int, purpose: str) -> tuple[int, int]:
    """Two 32-bit words that differ between any two (seed, purpose); the same on every machine and Python."""
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:8], "little")


def _words(seed: int, purpose: str, ordinals: Tensor, count: int) -> list[Tensor]:
    """Four int64 tensors [B, ceil(count / 4)]: element 4 k + j of an ordinal is block k's word j."""
    if ordinals.dtype != torch.int64 or ordinals.dim() != 1:
        raise ValueError(f"ordinals are int64 of shape [B], not {ordinals.dtype} of shape {tuple(ordinals.shape)}")
    blocks = torch.arange(-(-count // 4), device=ordinals.device)[None]
    low, high = (ordinals & _WORD)[:, None], ((ordinals >> 32) & _WORD)[:, None]
    words = philox((blocks, torch.zeros_like(blocks), low, high), _key(seed, purpose))
    shape = (len(ordinals), blocks.shape[1])
    return [word.expand(shape) for word in words]


def _elements(lanes: list[Tensor], count: int) -> Tensor:
    return torch.stack(lanes, dim=-1).flatten(1)[:, :count]


def unit(word: Tensor) -> Tensor:
    """Float32 in [0, 1) from 32-bit words: their upper 24 bits, which float32 holds exactly."""
    return (word >> 8).float() * 2.0**-24


def box_muller(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Two independent standard normals, float32, from two 32-bit words; finite for every word."""
    # The half keeps u above 0, where the logarithm would be infinite; u rounds to at most 1, where it is 0.
    radius = (((first.float() + 0.5) * 2.0**-32).log() * -2.0).sqrt()
    angle = second.float() * (2.0 * math.pi * 2.0**-32)
    return radius * angle.cos(), radius * angle.sin()


def uniform(seed: int, purpose: str, ordinals: Tensor, *shape: int) -> Tensor:
    """Float32 [B, *shape], uniform on the multiples of 2^-24 in [0, 1). `ordinals`: int64 [B]; its device is used."""
    count = math.prod(shape)
    drawn = _elements([unit(word) for word in _words(seed, purpose, ordinals, count)], count)
    return drawn.reshape(len(ordinals), *shape)


def integers(seed: int, purpose: str, ordinals: Tensor, high: int) -> Tensor:
    """Int64 [B] in 0..high-1, each with a probability within 2^-32 of 1 / high. `high` is at most 2^31."""
    if not 1 <= high <= 2**31:
        raise ValueError(f"integers are drawn below a bound in 1..2^31, not {high}")
    return (_words(seed, purpose, ordinals, 1)[0][:, 0] * high) >> 32


def normal(seed: int, purpose: str, ordinals: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 [B, *shape] by Box and Muller; always finite (|z| < 6.8). `ordinals`: int64 [B].

    The words behind it are the same on every device; logarithm, sine and cosine may differ in their last bit.
    """
    count = math.prod(shape)
    w0, w1, w2, w3 = _words(seed, purpose, ordinals, count)
    return _elements([*box_muller(w0, w1), *box_muller(w2, w3)], count).reshape(len(ordinals), *shape)
