"""The pretrained networks whose features images are compared by: where their weights are, never downloaded in passing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from ddpm_exp.evaluation import packages
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.evaluation import FID

WEIGHTS_NAME = "weights-inception-2015-12-05-6726825d.pth"
_ORIGIN = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/" + WEIGHTS_NAME

FIELD = "evaluation.fid.weights"
"""What names the file of Inception's weights in an experiment."""

INCEPTION = "inception-v3-compat"
"""torch-fidelity's name of the network that FID is defined by."""

LAYER = "2048"
"""The features that FID compares: Inception's last pooling."""

LOGITS = "logits_unbiased"
"""What the inception score reads, without the last layer's bias, as the original TensorFlow code does."""


@dataclass(frozen=True)
class Extractor:
    """A network from images to features, by its name in torch-fidelity, and its weights."""

    name: str
    layer: str
    """The features that distances compare."""

    resolution: int
    """Pixels to which it resizes images."""

    weights: Path
    field: str
    """What asks for it, for errors: a field of the experiment or an option."""

    called: str
    """Its name in sentences."""

    @property
    def sha256(self) -> str:
        """Of the file of its weights."""
        status = self.weights.stat()
        return _sha256(self.weights, status.st_size, status.st_mtime_ns)

    def create(self, device: torch.device, layers: tuple[str, ...]) -> Any:
        """The network on `device`, in fp32, frozen: called with uint8 [B, 3, H, W] it returns a tuple of [B, D], one of each layer.

        Raises RunError for a file that is not its weights.
        """
        from torch_fidelity.utils import create_feature_extractor

        require_tensors(self)
        if self.name != INCEPTION:
            import ddpm_exp.evaluation.efficientnet  # noqa: F401 - registers it
        where = {"cuda": device.type == "cuda", "feature_extractor_weights_path": str(self.weights), "verbose": False}
        return create_feature_extractor(self.name, list(layers), **where)


def efficientnet(field: str = "evaluation.fd") -> Extractor:
    """EfficientNet-Lite0. Raises UserError with the command that installs what it lacks."""
    if absent := packages.missing():
        otherwise = f"set {field} to None" if field.startswith("evaluation.") else "take --metrics noise_left"
        raise UserError(
            f"distances in the features of EfficientNet-Lite0 need {' and '.join(absent)}",
            field=field,
            fix=f"{packages.command(absent)} (or 'ddpm-exp[fidelity]'); or {otherwise}",
        )
    from ddpm_exp.evaluation.efficientnet import LAYER, NAME, RESOLUTION, weights_path

    return Extractor(NAME, LAYER, RESOLUTION, Path(weights_path()), field, "EfficientNet-Lite0")


def inception(fid: FID, field: str = FIELD) -> Extractor:
    """Inception. `field`: what names the file of its weights. Raises UserError with the way to get it."""
    return Extractor(INCEPTION, LAYER, 299, find_weights(fid, field), field, "Inception")


def find_weights(fid: FID, field: str = FIELD) -> Path:
    """The Inception weights file: `fid.weights`, else torch hub's cache. Raises UserError with the way to get it."""
    if fid.weights is not None:
        path = Path(fid.weights).expanduser()
        if not path.is_file():
            raise UserError("no such file of Inception weights", field=field, value=fid.weights, fix=_fix(field))
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
    if not path.is_file():
        raise UserError(
            "FID needs Inception weights, and torch's hub cache has none",
            field=field.removesuffix(".weights"),
            value=str(path),
            fix=_fix(field),
        )
    return path


def _fix(field: str) -> str:
    otherwise = "set evaluation.fid to None" if field == FIELD else "name other metrics"
    return f"download {_ORIGIN} and name it in {field} or put it into the cache; or {otherwise}"


def require_tensors(extractor: Extractor) -> None:
    """Raise RunError unless its file holds named tensors alone: the library would run any code that it holds."""
    try:
        content = torch.load(extractor.weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not its own; each means the same here
        raise unusable(extractor, f"the file of {extractor.called} weights cannot be read", error) from error
    if not isinstance(content, dict):
        wrong = TypeError(f"it holds a {type(content).__name__}")
        raise unusable(extractor, f"the file of {extractor.called} weights cannot be read", wrong)


def unusable(extractor: Extractor, what: str, error: Exception) -> RunError:
    """The error of an extractor whose file is not what it should be."""
    whose = "torch-fidelity's InceptionV3 weights" if extractor.name == INCEPTION else f"{extractor.called}'s weights"
    return RunError(
        f"{what}: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}",
        field=extractor.field,
        value=str(extractor.weights),
        fix=f"check that the file is {whose} and complete",
    )


@lru_cache(maxsize=8)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
