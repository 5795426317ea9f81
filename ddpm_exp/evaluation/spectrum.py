"""How fast images lose power towards fine detail: blurred ones faster than real ones, noise not at all."""

from __future__ import annotations

import torch

_FLOOR = (2 / 255) ** 2 / 12
"""Variance of rounding to bytes, of images in [-1, 1]: no image has less at any frequency that could be seen."""

_TOGETHER = 64
"""Images that are transformed together, to bound the memory."""


def spectrum_slopes(images: torch.Tensor) -> torch.Tensor:
    """Slope of ln(power) over ln(frequency) of each of `images` [N, C, H, W] in [-1, 1]: fp64 [N].

    The power spectrum is averaged over channels and over rings of whole frequencies 1, 2, ... up to that of a pixel and its
    neighbour along the shorter side, and the line is fitted to the rings with equal weights. Natural images have about -2 to -3
    (van der Schaaf & van Hateren 1996), white noise 0.
    """
    height, width = images.shape[2:]
    last = min(height, width) // 2
    power = torch.cat(
        [torch.fft.fft2(part.double(), norm="ortho").abs().square().mean(1) for part in torch.split(images, _TOGETHER)]
    )
    down, across = (torch.fft.fftfreq(side, dtype=torch.float64) * min(height, width) for side in (height, width))
    ring = (down[:, None].square() + across[None].square()).sqrt().round().long().flatten()
    inside = (ring >= 1) & (ring <= last)
    member = torch.nn.functional.one_hot(ring[inside] - 1, last).double()
    rings = ((power + _FLOOR).flatten(1)[:, inside] @ member / member.sum(0)).log()
    along = torch.arange(1, last + 1, dtype=torch.float64).log()
    centred = along - along.mean()
    return rings @ centred / centred.square().sum()


def blur(drawn: torch.Tensor, real_slope: float) -> float:
    """How much steeper the median slope of `drawn` [N, C, H, W] is than `real_slope`: 0 for real images, above it where fine detail
    is missing, below it where there is too much. The median: a few noisy images hide no blur of the others."""
    return real_slope - float(spectrum_slopes(drawn).quantile(0.5))
