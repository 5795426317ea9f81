"""CIFAR-10 through torchvision, which downloads, checks and unpacks it. Nothing of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ddpm_exp.data.downloads import cache_folder, download
from ddpm_exp.data.examples import Examples
from ddpm_exp.spec.data import CIFAR10
from ddpm_exp.spec.errors import UserError

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FOLDER = "cifar-10-batches-py"
_FIX = f"unpack cifar-10-python.tar.gz (www.cs.toronto.edu/~kriz/cifar.html) so that data.root holds {_FOLDER}/"


def find(data: CIFAR10) -> Path:
    """The folder that holds torchvision's `cifar-10-batches-py`; downloads if it is missing, UserError if that fails."""
    root = cache_folder(data.root)
    batches = ["batches.meta", "test_batch", *(f"data_batch_{k}" for k in range(1, 6))]
    if not all((root / _FOLDER / name).is_file() for name in batches):
        from torchvision import datasets

        download("CIFAR-10", root, lambda into: datasets.CIFAR10(str(into), download=True), _FIX)
    return root


def load_cifar10(data: CIFAR10) -> tuple[Examples, Examples]:
    """Training (50,000) and held-out (10,000) images, uint8 [N, 3, 32, 32]. torchvision verifies every file's checksum."""
    from torchvision import datasets

    root = find(data)
    try:
        return tuple(_image_set(datasets.CIFAR10(str(root), train=train)) for train in (True, False))  # type: ignore[return-value]
    except RuntimeError as error:
        raise UserError(
            f"files of {_FOLDER} are damaged or not CIFAR-10's: their checksums differ",
            field="data.root",
            value=str(root),
            fix=f"delete {root / _FOLDER}, then {_FIX}",
        ) from error


def _image_set(dataset: Any) -> Examples:
    """torchvision's uint8 [N, H, W, C] array and list of labels."""
    images = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
    return Examples(images, torch.tensor(dataset.targets, dtype=torch.int64), CLASS_NAMES)
