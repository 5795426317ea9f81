"""Times drawn in proportion to the root of the loss's second moment, for the least variance of the loss's mean.

Nichol & Dhariwal 2021, eq. 18. In place of the paper's last ten losses of each time, an average that forgets at their
rate: its state is one number a time, and merging a step's losses at once does not depend on their order.
All state stays on the device at fixed addresses, so that a captured CUDA graph sees each step's density; nothing waits for
the host. The cumulated density is of integers, whose sums are the same in any order.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ddpm_exp.diffusion import draws

OBSERVATIONS = 10
"""Losses that each time must have shown before any time is preferred, and about as many as are remembered."""

UNIFORM_SHARE = 0.001
"""Part of the draws that stays uniform, so that no time is forgotten (as in the paper's code)."""

_RESOLUTION = 2**31


class Importance:
    """The density over the times 1..T, and the losses that the current step has shown so far."""

    def __init__(self, timesteps: int, images_per_step: int, device: torch.device | str) -> None:
        self.timesteps, self.images_per_step = timesteps, images_per_step
        self._second_moment = torch.zeros(timesteps, dtype=torch.float64, device=device)
        self._observed = torch.zeros(timesteps, dtype=torch.int64, device=device)
        self._cumulated = torch.zeros(timesteps, dtype=torch.int64, device=device)
        self._times = torch.zeros(images_per_step, dtype=torch.int64, device=device)
        self._squares = torch.zeros(images_per_step, dtype=torch.float64, device=device)
        self._spread()

    def draw(self, seed: int, purpose: str, ordinals: Tensor) -> tuple[Tensor, Tensor]:
        """Times, int64 [B] in 1..T, and 1 / (T p(t)), float32 [B], which makes a mean over them one over uniform times."""
        total = self._cumulated[-1]
        place = (draws.integers(seed, purpose, ordinals, _RESOLUTION) * total) // _RESOLUTION
        index = torch.searchsorted(self._cumulated, place, right=True)
        width = self._cumulated[index] - torch.where(index > 0, self._cumulated[(index - 1).clamp(min=0)], 0)
        return index + 1, (total.double() / (width * self.timesteps)).float()

    def observe(self, ordinals: Tensor, t: Tensor, losses: Tensor) -> None:
        """Note the losses [B] at times `t` of the examples with these ordinals, all of one step."""
        slots = ordinals % self.images_per_step
        self._times[slots] = t
        self._squares[slots] = losses.detach().double().square()

    def observed(self) -> list[Tensor]:
        """Times and squared losses by slot of the step; 0 for examples that this process has not seen."""
        return [self._times, self._squares]

    def end_step(self) -> None:
        """Merge the step's losses into the density of the next. Losses that are not finite are left out."""
        index = self._times - 1
        counted = ((self._times > 0) & self._squares.isfinite()).long()
        # Sorted and summed run by run: floating sums in a fixed order, whatever order the device adds in.
        order = torch.argsort(torch.where(counted > 0, index, self.timesteps), stable=True)
        counts = torch.zeros_like(self._observed).scatter_add_(0, index.clamp(min=0), counted)
        sums = _sums_of_runs(torch.where(counted > 0, self._squares, 0.0)[order], counts)
        kept = (1.0 - 1.0 / OBSERVATIONS) ** counts.double()
        fresh = counts / (self._observed + counts).clamp(min=1)
        share = torch.maximum(1.0 - kept, fresh)
        mean = sums / counts.clamp(min=1)
        self._second_moment.copy_(torch.where(counts > 0, torch.lerp(self._second_moment, mean, share), self._second_moment))
        self._observed.add_(counts)
        self._times.zero_()
        self._squares.zero_()
        self._spread()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps between two steps."""
        return {"second_moment": self._second_moment.clone(), "observed": self._observed.clone()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a `state`, in place."""
        self._second_moment.copy_(state["second_moment"])
        self._observed.copy_(state["observed"])
        self._times.zero_()
        self._squares.zero_()
        self._spread()

    def _spread(self) -> None:
        root = self._second_moment.sqrt()
        total = root.sum()
        known = (self._observed.min() >= OBSERVATIONS) & (total > 0)
        even = torch.full_like(root, 1.0 / self.timesteps)
        density = torch.where(known, (1.0 - UNIFORM_SHARE) * root / torch.where(known, total, 1.0) + UNIFORM_SHARE * even, even)
        self._cumulated.copy_((density * _RESOLUTION).round().long().clamp(min=1).cumsum(0))


def _sums_of_runs(values: Tensor, lengths: Tensor) -> Tensor:
    """Sums of consecutive runs of `values` [N] with these `lengths` [T], float64 [T]; what is left over is dropped."""
    left = (len(values) - lengths.sum()).view(1)
    # `unsafe` leaves out a check of the lengths that would wait for the device.
    return torch.segment_reduce(values, "sum", lengths=torch.cat([lengths, left]), unsafe=True)[:-1]
