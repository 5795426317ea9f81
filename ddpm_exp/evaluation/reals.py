"""The real images that drawn ones are compared with, and their features: extracted once, then kept on this machine's disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ddpm_exp.data.examples import Splits
from ddpm_exp.evaluation.fidelity import FeatureSet, Statistics
from ddpm_exp.evaluation.image_features import Extraction, pixel_digest
from ddpm_exp.records.atomic import write_atomically
from ddpm_exp.records.cache import cache_folder, version_of
from ddpm_exp.spec.errors import RunError

Split = Literal["train", "held-out"]

MOST_BYTES = 4 * 1024**3
"""Of features that are kept; beyond it those that were asked for least recently go."""

_KEY = "question"


@dataclass(frozen=True)
class Reals:
    """Some real images of one data set."""

    images: torch.Tensor
    """uint8 [N, C, H, W], as they are: not mirrored, none dropped."""

    split: Split
    fingerprint: str
    """Of the data set."""

    chosen: str
    """`all`, or how they were taken."""

    @cached_property
    def sha256(self) -> str:
        """Of their pixels."""
        return pixel_digest(self.images)

    def __len__(self) -> int:
        return len(self.images)


def every(splits: Splits, split: Split) -> Reals:
    """All images of one split."""
    return Reals((splits.train if split == "train" else splits.held_out).x, split, splits.fingerprint, "all")


def as_many_of_training(splits: Splits, images: int) -> Reals:
    """`images` training images (or all, if there are fewer), in place of samples: what perfect samples would measure. The same ones
    every time."""
    train = splits.train.x
    count = min(images, len(train))
    places = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:count]
    return Reals(train[places], "train", splits.fingerprint, f"{count} by seed 0")


def features_of(reals: Reals, extraction: Extraction) -> FeatureSet:
    """Features of `reals`, from the disk where they are kept for all that determines them. Of several processes the first alone
    gets them whole. Raises as `Extraction.features`."""
    question = question_of(reals, extraction)
    kept = _find(question) if extraction.ranks.leads else None
    if extraction.ranks.share(kept is not None):
        return FeatureSet(torch.empty(0, 0)) if kept is None else kept
    found = FeatureSet(extraction.features(reals.images)[extraction.extractor.layer])
    if extraction.ranks.leads:
        _keep(question, found)
    return found


def question_of(reals: Reals, extraction: Extraction) -> dict[str, Any]:
    """Everything that decides the bits of the features of `reals`."""
    extractor, device = extraction.extractor, extraction.device
    return {
        "data": reals.fingerprint,
        "split": reals.split,
        "chosen": reals.chosen,
        "pixels": reals.sha256,
        "shape": list(reals.images.shape),
        "extractor": extractor.name,
        "layer": extractor.layer,
        "resolution": extractor.resolution,
        "weights": extractor.sha256,
        "dtype": "float32",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "versions": {name: version_of(name) for name in ("ddpm-exp", "torch", "torch-fidelity", "timm")},
    }


def _folder() -> Path:
    return cache_folder() / "real-features"


def _path(question: dict[str, Any]) -> Path:
    return _folder() / f"{hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:32]}.safetensors"


def _find(question: dict[str, Any]) -> FeatureSet | None:
    """What was kept for exactly `question`; None without it, or where its file is damaged."""
    path = _path(question)
    try:
        with safe_open(str(path), framework="pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in ("features", "mean", "covariance")}
    except (OSError, SafetensorError, ValueError):
        return None
    if told.get(_KEY) != json.dumps(question, sort_keys=True) or told.get("digest") != _digest(tensors):
        return None
    with contextlib.suppress(OSError):  # a folder that may only be read
        os.utime(path)  # so that it is not the next to go
    return FeatureSet(tensors["features"], Statistics(tensors["mean"].numpy(), tensors["covariance"].numpy()))


def _keep(question: dict[str, Any], found: FeatureSet) -> None:
    """For the next `_find(question)`. A folder that cannot be written costs time and is no error."""
    statistics = found.statistics
    tensors = {
        "features": found.features.contiguous(),
        "mean": torch.from_numpy(statistics.mean),
        "covariance": torch.from_numpy(statistics.covariance).contiguous(),
    }
    told = {_KEY: json.dumps(question, sort_keys=True), "digest": _digest(tensors)}
    with contextlib.suppress(RunError, OSError):
        write_atomically(_path(question), save(tensors, told))
        _forget()


def _forget() -> None:
    left = MOST_BYTES
    for file in sorted(_folder().glob("*.safetensors"), key=lambda file: file.stat().st_mtime_ns, reverse=True):
        left -= file.stat().st_size
        if left < 0:
            file.unlink(missing_ok=True)  # another process may have been faster


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()
