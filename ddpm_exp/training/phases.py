"""What a step trains on in each phase of a progressive training. Draws nothing."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from ddpm_exp.spec.phases import phase_ends
from ddpm_exp.spec.training import Training


@dataclass(frozen=True)
class Stage:
    """How a step's task differs from the experiment's."""

    timesteps: int | None = None
    """Times that are drawn; None: all of the diffusion's."""

    image_size: int | None = None
    """Side of the images; None: the data's."""

    def shrink(self, x0: torch.Tensor) -> torch.Tensor:
        """Images [B, C, H, W] at this stage's size, each pixel the mean of a square."""
        if self.image_size is None:
            return x0
        small = F.avg_pool2d(x0, x0.shape[-1] // self.image_size)
        return small.contiguous(memory_format=torch.channels_last) if x0.is_contiguous(memory_format=torch.channels_last) else small


WHOLE = Stage()
"""The experiment's own task."""

Stages = tuple[tuple[int, Stage], ...]
"""(images after which it ends, stage) of each phase, in order."""


def stages_of(training: Training, images_per_epoch: int) -> Stages:
    """The phases of `training`."""
    ends = phase_ends(training, images_per_epoch)
    return tuple((end, Stage(phase.timesteps, phase.image_size)) for end, phase in zip(ends, training.phases, strict=True))


def stage_at(stages: Stages, images: int) -> Stage:
    """The stage of the step that begins after `images` images: a function of them alone."""
    return next((stage for end, stage in stages if images < end), WHOLE)
