"""Numbers from drawn images alone: how far they are from noise, and whether the condition changes them."""

from __future__ import annotations

import torch


def coherence(images: torch.Tensor) -> float:
    """Mean correlation of horizontally and vertically neighbouring pixels within an image; 0 for white noise, 1 at most.

    `images` [N, C, H, W]. A constant image, which has no correlation, counts as 0.
    """
    centred = images.double() - images.double().mean(dim=(2, 3), keepdim=True)
    variance = centred.square().mean(dim=(1, 2, 3))
    across = (centred[..., :, 1:] * centred[..., :, :-1]).mean(dim=(1, 2, 3))
    down = (centred[..., 1:, :] * centred[..., :-1, :]).mean(dim=(1, 2, 3))
    found = torch.where(variance > 1e-12, (across + down) / (2 * variance.clamp_min(1e-12)), 0.0)
    return float(found.mean())


def distance_between_conditions(images: torch.Tensor, classes: int) -> float:
    """Mean RMS pixel distance of images of different classes drawn from the same noise.

    `images` [K * classes, *shape], ordered so that each run of `classes` images shares its noise. Exactly 0 where the
    condition does nothing.
    """
    groups = images.double().reshape(-1, classes, images[0].numel())
    # The faster way through a matrix product, which torch takes above 25 rows, gives equal images a distance of 1e-8.
    distances = torch.cdist(groups, groups, compute_mode="donot_use_mm_for_euclid_dist") / groups.shape[-1] ** 0.5
    pairs = ~torch.eye(classes, dtype=torch.bool)
    return float(distances[:, pairs].mean())


def distance_between_classes(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean RMS pixel distance of real images of different classes, over all such pairs of the first 512.

    `images` [N, *shape] as the network sees them, `labels` [N].
    """
    flat, kinds = images[:512].double().flatten(1), labels[:512]
    distances = torch.cdist(flat, flat) / flat.shape[1] ** 0.5
    return float(distances[kinds[:, None] != kinds[None, :]].mean())


def error_where(drawn: torch.Tensor, real: torch.Tensor, hidden: torch.Tensor) -> float:
    """Mean squared error of `drawn` [N, C, H, W] against `real` where `hidden` (bool [N, 1, H, W]) is true."""
    error = (drawn.double() - real.double()).square() * hidden
    return float(error.sum() / (hidden.sum() * drawn.shape[1]))
