"""The length of a power-function average chosen after training, from averages of two lengths that were kept on the way.

Karras et al. 2024, section 3.2 and appendix C.3: an average of the weights over time is a profile, and the profile of any other
length is nearly a linear combination of those of the snapshots. Weights of the combination are those of least squares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_exp.training.ema import power_exponent

TRACKED = (0.05, 0.10)
"""Relative widths that are averaged during training; the paper's own choice."""


class Profile(NamedTuple):
    """A power-function average: the weights after `images` images, each with a share in proportion to its time to the `gamma`."""

    images: float
    gamma: float


class Combination(NamedTuple):
    """How to make one average of others."""

    weights: tuple[float, ...]
    """Of each snapshot; they add up to 1."""

    misfit: float
    """Root mean square difference of the profiles, relative to that of the average that is wanted."""


def combine(snapshots: Sequence[Profile], wanted: Profile) -> Combination:
    """The combination of `snapshots` whose profile is nearest to that of `wanted`, among those whose weights add up to 1.

    The paper leaves the sum free; fixing it makes weights that do not change come out as they are.
    """
    count = len(snapshots)
    system = torch.ones(count + 1, count + 1, dtype=torch.float64)
    system[count, count] = 0.0
    right = torch.ones(count + 1, dtype=torch.float64)
    for row, one in enumerate(snapshots):
        right[row] = overlap(one, wanted)
        for column, other in enumerate(snapshots):
            system[row, column] = overlap(one, other)
    # Scaled to profiles of norm 1, as their norms differ by orders of magnitude; the least squares survive a singular system.
    scale = torch.cat([system.diagonal()[:count].rsqrt(), torch.ones(1, dtype=torch.float64)])
    solved = torch.linalg.lstsq(scale[:, None] * system * scale, (scale * right)[:, None], driver="gelsd").solution[:, 0] * scale
    found = solved[:count]
    own = overlap(wanted, wanted)
    square = own - 2 * float(found @ right[:count]) + float(found @ system[:count, :count] @ found)
    return Combination(tuple(found.tolist()), (max(0.0, square) / own) ** 0.5)


def overlap(one: Profile, other: Profile) -> float:
    """Integral over time of the product of two profiles (Karras et al. 2024, eq. 151, in another form)."""
    early, late = sorted((one, other))
    power: float = (early.images / late.images) ** late.gamma
    return (early.gamma + 1) * (late.gamma + 1) / (early.gamma + late.gamma + 1) * power / late.images


def profile(images: float, sigma_rel: float) -> Profile:
    """The average of this relative width after `images`."""
    return Profile(images, power_exponent(sigma_rel))


def mixed(states: Iterable[Mapping[str, Tensor]], weights: Sequence[float]) -> dict[str, Tensor]:
    """The combination of `states`, name by name, summed in float64; what is not floating is the last state's."""
    totals: dict[str, Tensor] = {}
    last: Mapping[str, Tensor] = {}
    for state, weight in zip(states, weights, strict=True):
        last = state
        for name, tensor in state.items():
            if tensor.is_floating_point():
                total = totals.setdefault(name, torch.zeros(tensor.shape, dtype=torch.float64))
                total.add_(tensor.double(), alpha=weight)
    return {name: totals[name].to(tensor.dtype) if name in totals else tensor for name, tensor in last.items()}
