"""Features in which distances are measured without a pretrained network: elements of examples, or their leading directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import avg_pool2d

from ddpm_exp.data.examples import Examples
from ddpm_exp.evaluation import vectors
from ddpm_exp.spec.data import Family

_MOST = 64
"""Features; of more elements the leading principal components are taken."""

_FITTED_ON = 2048
_TOGETHER = 256
_LARGEST = 32
"""Pixels of a side; larger images are averaged down to about so many, which bounds the memory and sees the same things."""


@dataclass(frozen=True)
class Embedding:
    """A linear map that keeps distances as far as the training examples vary."""

    family: Family
    mean: torch.Tensor
    """fp64 [D]."""
    directions: torch.Tensor | None
    """fp64 [D, 64], orthonormal; None where D is at most 64."""

    def __call__(self, x0: torch.Tensor) -> torch.Tensor:
        """fp64 [N, F] from examples [N, *shape] as the network sees them."""
        rows = _elements(x0, self.family) - self.mean
        return rows if self.directions is None else rows @ self.directions

    def of(self, examples: Examples, most: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features and labels of `examples`, or of `most` of them at even steps."""
        places = even_steps(len(examples), most)
        labels = None if examples.labels is None else examples.labels[places]
        return torch.cat([self(examples.batch(part).x0) for part in torch.split(places, _TOGETHER)]), labels


def fit_embedding(train: Examples, family: Family) -> Embedding:
    """Principal components of at most 2,048 training examples, at even steps, by a randomised decomposition of fixed seed."""
    rows = torch.cat(
        [_elements(train.batch(part).x0, family) for part in torch.split(even_steps(len(train), _FITTED_ON), _TOGETHER)]
    )
    mean = rows.mean(0)
    if rows.shape[1] <= _MOST:
        return Embedding(family, mean, None)
    from sklearn.decomposition import PCA

    found = PCA(min(_MOST, len(rows)), svd_solver="randomized", random_state=0).fit((rows - mean).float().numpy())
    return Embedding(family, mean, torch.from_numpy(found.components_).double().T.contiguous())


def even_steps(count: int, most: int) -> torch.Tensor:
    """Places of `most` of `count` examples at even steps, or of all: files are often sorted."""
    return torch.linspace(0, count - 1, min(most, count), dtype=torch.float64).round().long()


def _elements(x0: torch.Tensor, family: Family) -> torch.Tensor:
    if family == "image" and (factor := max(x0.shape[2:]) // _LARGEST) > 1:
        x0 = avg_pool2d(x0, min(factor, *x0.shape[2:]))
    return vectors.features(x0, family)
