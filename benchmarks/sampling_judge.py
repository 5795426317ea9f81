"""Distances of drawn CIFAR-10 images to the test images, for sampling_quality.py and equal_quality.py."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from torch import Tensor

from ddpm_exp.data.pixels import to_model_range
from ddpm_exp.evaluation.fidelity import FeatureSet, frechet
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.noise_left import NoiseScale


@dataclass
class Judge:
    """Distances to the test images, computed beside the drawing."""

    extraction: Extraction
    reals: FeatureSet
    noise: NoiseScale
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(6))

    def of(self, images: Tensor) -> Future[tuple[float, float]]:
        """FD and the share with noise left of uint8 images."""
        features = self.features(images)
        return self.pool.submit(lambda: (frechet(FeatureSet(features), self.reals), self._noisy(images)))

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, 1280]."""
        (found,) = self.extraction.features(images).values()
        return found

    def _noisy(self, images: Tensor) -> float:
        return self.noise.share_with_noise(to_model_range(images[:500]))
