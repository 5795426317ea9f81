"""Noise that was left in images: what an image has where real images have nothing. Not the noise that a network is asked about.

Blocks of real images vary in few directions; white noise, coloured or not, varies in all of them. So the part of a block along the
directions in which real blocks vary least is, but for little, noise alone (Pyatykh, Hesser & Zheng 2013, "Image noise level
estimation by principal component analysis", with the directions taken from real images and not from the one that is looked at).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch.nn.functional import unfold

BLOCK = 8
"""Pixels of a block's side: 8x8x3 = 192 directions in colour, and a whole image of scikit-learn's digits."""

_TOGETHER = 64
"""Images that are looked at together, to bound the memory."""

USUAL = 0.995
"""Share of real images that have less noise than what counts as noise left."""

VISIBLE = 0.05
"""Standard deviation in [-1, 1], 6 of 255 grey levels, below which noise is not counted: files that were compressed have next to
nothing in their least directions, and any image would have more."""


@dataclass(frozen=True)
class Quiet:
    """The directions in which real blocks vary least, and how much real images have in them."""

    block: int
    mean: torch.Tensor
    """fp64 [D], D = C x block x block."""
    directions: torch.Tensor
    """fp64 [D, D / 2], orthonormal."""
    limit: float = 0.0
    """Estimate from which on an image has noise left."""

    def estimate(self, images: torch.Tensor) -> torch.Tensor:
        """Standard deviation of the noise in each of `images` [N, C, H, W] in [-1, 1]: fp64 [N], infinite where one is not finite.

        Of white noise of that deviation it is the deviation; of a real image, what it has in the quiet directions itself. Pixels
        beyond the last whole block are not looked at.
        """
        found = torch.cat(
            [
                ((_blocks(part, self.block) - self.mean) @ self.directions).square().mean(dim=(1, 2)).sqrt()
                for part in torch.split(images, _TOGETHER)
            ]
        )
        return torch.where(found.isfinite(), found, torch.inf)


@dataclass(frozen=True)
class NoiseScale:
    """What noise real images have."""

    all_channels: Quiet
    """Sees noise that differs between channels, best; of photographs the quiet directions are nearly all of colour."""
    grey: Quiet
    """Of the mean of the channels: sees noise that is the same in all of them."""

    def share_with_noise(self, images: torch.Tensor) -> float:
        """Share of `images` [N, C, H, W] in [-1, 1] with noise left: of real images, 0.5 % in the mean and at most."""
        coloured = self.all_channels.estimate(images) > self.all_channels.limit
        grey = self.grey.estimate(images.mean(1, keepdim=True)) > self.grey.limit
        return float((coloured | grey).double().mean())


def fit_noise_scale(train: torch.Tensor, held_out: torch.Tensor) -> NoiseScale:
    """The scale of real images [N, C, H, W] in [-1, 1]: directions of `train`, limits of `held_out`, a thousand of each are enough.
    (In the images that directions were taken from they are quieter than in others.)"""
    usual = USUAL if train.shape[1] == 1 else (1 + USUAL) / 2  # either kind of noise counts: each gets half of the false alarms
    grey = _fit_quiet(train.mean(1, keepdim=True), held_out.mean(1, keepdim=True), usual)
    return NoiseScale(_fit_quiet(train, held_out, usual), grey)


def _fit_quiet(train: torch.Tensor, held_out: torch.Tensor, usual: float) -> Quiet:
    block = min(BLOCK, *train.shape[2:])
    rows = _blocks(train, block).flatten(0, 1)
    mean = rows.mean(0)
    rows = rows - mean
    directions = torch.linalg.eigh(rows.T @ rows).eigenvectors  # from the least to the greatest
    quiet = Quiet(block, mean, directions[:, : max(1, directions.shape[1] // 2)])
    return replace(quiet, limit=max(VISIBLE, float(quiet.estimate(held_out).quantile(usual))))


def _blocks(images: torch.Tensor, side: int) -> torch.Tensor:
    """fp64 [N, blocks, C x side x side]."""
    return unfold(images.double(), side, stride=side).transpose(1, 2)
