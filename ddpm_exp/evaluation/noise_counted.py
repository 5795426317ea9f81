"""The share of many drawn images that have noise left, with all that it depends on. What noise left is: `noise_left`."""

from __future__ import annotations

from functools import cached_property

import torch

from ddpm_exp.data.examples import Splits
from ddpm_exp.data.pixels import to_model_range
from ddpm_exp.evaluation import noise_left
from ddpm_exp.evaluation.defects import SMALLEST_SIDE, Defects
from ddpm_exp.evaluation.image_measures import Measured
from ddpm_exp.evaluation.noise_left import NoiseScale

NAME = "noise_left"
"""Its name on the command line; in the catalogue `samples/noise_left`."""

_TOGETHER = 1000
"""Images that are looked at together, to bound the memory."""


class NoiseCount:
    """Counts drawn images with noise left, by the scale of the real images of `splits`; needs no pretrained network."""

    def __init__(self, splits: Splits) -> None:
        self._splits = splits

    @cached_property
    def _scale(self) -> NoiseScale:
        return Defects(self._splits, "image").noise_scale

    @staticmethod
    def sees(side: int) -> bool:
        """Whether images of `side` pixels, the smaller side, are large enough to tell."""
        return side >= SMALLEST_SIDE

    def of(self, drawn: torch.Tensor) -> Measured:
        """Of uint8 `drawn` [N, C, H, W]."""
        parts = torch.split(drawn, _TOGETHER)
        share = sum(len(part) * self._scale.share_with_noise(to_model_range(part)) for part in parts) / len(drawn)
        measurement = {
            "n": len(drawn),
            "extractor": "quiet directions",
            "block": min(noise_left.BLOCK, *drawn.shape[2:]),
            "usual": noise_left.USUAL,
            "visible": noise_left.VISIBLE,
            "reals": "train and held-out",
            "reals_sha256": self._splits.fingerprint,
            "image_shape": list(drawn.shape[1:]),
            "conditions": "as often as the data has them",
        }
        values = {f"samples/{NAME}": share, "samples/measured": float(len(drawn))}
        return Measured(values, measurement, len(drawn), len(self._splits.held_out))
