"""A fixed, class-balanced part of the training images. Never touches the held-out ones."""

from __future__ import annotations

import hashlib
from typing import TypeVar

import torch
from torch import Tensor

from ddpm_exp.data.examples import Examples
from ddpm_exp.data.stored import Stored
from ddpm_exp.spec.errors import UserError

Part = TypeVar("Part", Examples, Stored)


def take_subset(train: Part, size: int | None, seed: int) -> Part:
    """`size` of the images in their published order, chosen by `seed` alone; all of them for None.

    Classes get equal shares as far as they reach; where `size` does not divide, earlier classes get one more.
    A smaller subset of the same seed lies within a larger one.
    """
    check_subset(size, len(train))
    if size is None:
        return train
    labels = torch.zeros(len(train), dtype=torch.int64) if train.labels is None else train.labels
    members = [torch.nonzero(labels == label).flatten() for label in range(int(labels.max()) + 1)]
    shares = _shares([len(indices) for indices in members], size)
    chosen = [indices[_shuffle(seed, label, len(indices))[: shares[label]]] for label, indices in enumerate(members)]
    return train.take(torch.cat(chosen).sort().values)


def check_subset(size: int | None, available: int) -> None:
    """Raise UserError if `size` is more than the `available` training images."""
    if size is not None and size > available:
        raise UserError(
            f"the training set holds {available:,} images, so a subset cannot be larger",
            field="data.subset",
            value=size,
            fix=f"take at most {available}, or None for all of them",
        )


def _shares(sizes: list[int], total: int) -> list[int]:
    """How many of each class: one at a time to each class that still has some, until `total` are given."""
    shares = [0] * len(sizes)
    left = total
    while left:
        open_classes = [label for label, size in enumerate(sizes) if shares[label] < size]
        each = max(1, min(left // len(open_classes), min(sizes[label] - shares[label] for label in open_classes)))
        for label in open_classes[: left // each]:
            shares[label] += each
            left -= each
    return shares


def _shuffle(seed: int, label: int, count: int) -> Tensor:
    digest = hashlib.sha256(f"subset/{seed}/{label}".encode()).digest()
    generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    return torch.randperm(count, generator=generator)
