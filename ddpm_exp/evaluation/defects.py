"""What can be wrong with samples, as numbers against real examples: noise left, blur, collapse, memorisation, classes that lack.

No pretrained network takes part: images are judged by their pixels, and distances are measured in leading principal components.
What does not depend on the samples is prepared once, on first use.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from ddpm_exp.data.examples import Examples, Splits
from ddpm_exp.evaluation import neighbours
from ddpm_exp.evaluation.centroids import Centroids, compared, fit_centroids
from ddpm_exp.evaluation.embedding import Embedding, even_steps, fit_embedding
from ddpm_exp.evaluation.noise_left import NoiseScale, fit_noise_scale
from ddpm_exp.evaluation.spectrum import blur, spectrum_slopes
from ddpm_exp.spec.data import Family

TRAINING_EXAMPLES = 50_000
"""Training examples that are searched for copies; of more, so many at even steps."""

MOST_SAMPLES = 2000
"""Samples that are looked at; of more, the first ones: their pairs would fill the memory."""

_HELD_OUT = 1024
_PIXELS = 4_000_000
"""Of real images that tell what is usual; at least 64 images."""

SMALLEST_SIDE = 4
"""Pixels; an image of fewer has neither a spectrum nor a texture."""


@dataclass
class Defects:
    """Compares samples with the real examples of `splits`."""

    splits: Splits
    family: Family
    shown: bool = False
    """Whether each sample is told a part of a real example, so that two that are told the same are alike."""

    def of(self, drawn: torch.Tensor) -> dict[str, float]:
        """Measures of `drawn` [N, *shape], whose conditions come in the data's own proportions."""
        drawn = drawn[:MOST_SAMPLES]
        found = self._of_pixels(drawn) if self.family == "image" and min(drawn.shape[2:]) >= SMALLEST_SIDE else {}
        found["samples/measured"] = float(len(drawn))
        features = self.embedding(drawn)
        distances, quotients = neighbours.nearest(features, self._train)
        found["samples/memorisation"] = neighbours.share_repeated(quotients, self._held_out_nearest[1])
        compared = {"samples/nearest_training": [float(side.quantile(0.5)) for side in (distances, self._held_out_nearest[0])]}
        count = min(len(drawn), len(self.splits.held_out)) if self.shown else len(drawn)
        real = self._train[even_steps(len(self._train), count)]
        if min(len(real), len(drawn)) > 1:
            sides = features[: len(real)], real
            compared["samples/diversity"] = [neighbours.mean_distance(side) for side in sides]
            compared["samples/nearest_sample"] = [neighbours.median_to_nearest_other(side) for side in sides]
        # Where real examples have no distance there is nothing to compare with.
        return found | {name: ours / theirs for name, (ours, theirs) in compared.items() if theirs > 0}

    def of_classes(self, drawn: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
        """Measures of classes, of `drawn` [N, *shape] that were asked for as `labels` [N]; none where training examples lack a
        class, held-out ones have no labels, or these features do not tell a class."""
        if self._centroids is None or self._recognised is None:
            return {}
        found = compared(self._centroids, self._recognised, self.embedding(drawn), labels)
        return {f"samples/{name}": value for name, value in found.items()}

    def _of_pixels(self, drawn: torch.Tensor) -> dict[str, float]:
        return {"samples/noise_left": self.noise_scale.share_with_noise(drawn), "samples/blur": blur(drawn, self._slope)}

    @cached_property
    def embedding(self) -> Embedding:
        """Where distances are measured."""
        return fit_embedding(self.splits.train, self.family)

    @cached_property
    def noise_scale(self) -> NoiseScale:
        """What noise real images have."""
        return fit_noise_scale(_images(self.splits.train), _images(self.splits.held_out))

    @cached_property
    def _slope(self) -> float:
        return float(spectrum_slopes(_images(self.splits.train)).quantile(0.5))

    @cached_property
    def _train(self) -> torch.Tensor:
        return self.embedding.of(self.splits.train, TRAINING_EXAMPLES)[0]

    @cached_property
    def _held_out(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.embedding.of(self.splits.held_out, _HELD_OUT)

    @cached_property
    def _held_out_nearest(self) -> tuple[torch.Tensor, torch.Tensor]:
        return neighbours.nearest(self._held_out[0], self._train)

    @cached_property
    def _centroids(self) -> Centroids | None:
        features, labels = self.embedding.of(self.splits.train, _HELD_OUT * 10)
        classes = len(self.splits.train.class_names)
        if labels is None or int(labels.bincount(minlength=classes).min()) == 0:
            return None
        return fit_centroids(features, labels, classes)

    @cached_property
    def _recognised(self) -> torch.Tensor | None:
        features, labels = self._held_out
        return None if labels is None or self._centroids is None else self._centroids.recognised(features, labels)


def _images(real: Examples) -> torch.Tensor:
    """[N, C, H, W] in [-1, 1], at even steps."""
    most = max(64, min(_HELD_OUT, _PIXELS // real.x[0].numel()))
    return real.batch(even_steps(len(real), most)).x0
