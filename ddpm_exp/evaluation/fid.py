"""Frechet inception distance through torch-fidelity, with the weights named, never downloaded in passing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.full_device import is_out_of_memory
from ddpm_exp.ranks.ranks import SINGLE, Ranks
from ddpm_exp.ranks.shares import Shares
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.evaluation import FID

WEIGHTS_NAME = "weights-inception-2015-12-05-6726825d.pth"
_ORIGIN = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/" + WEIGHTS_NAME

LAYER = "2048"
"""The features that FID compares: Inception's last pooling."""

TOGETHER = 64
"""Images that go through Inception at once where memory allows."""


def find_weights(fid: FID) -> Path:
    """The Inception weights file: `fid.weights`, else torch hub's cache. Raises UserError with the way to get it."""
    if fid.weights is not None:
        path = Path(fid.weights).expanduser()
        if not path.is_file():
            raise UserError("no such file of Inception weights", field="evaluation.fid.weights", value=fid.weights, fix=_fix())
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_NAME
    if not path.is_file():
        raise UserError(
            "FID needs Inception weights, and torch's hub cache has none", field="evaluation.fid", value=str(path), fix=_fix()
        )
    return path


def _fix() -> str:
    return f"download {_ORIGIN} and name it in evaluation.fid.weights or put it into the cache; or set evaluation.fid to None"


@dataclass(frozen=True)
class FidResult:
    """A distance with everything that it depends on."""

    value: float
    generated: int
    reals: int

    @property
    def comparable_with_papers(self) -> bool:
        """Papers generate 50,000 images."""
        return self.generated == 50_000


def measure(
    generated: torch.Tensor,
    reals: torch.Tensor,
    weights: Path,
    device: torch.device,
    ranks: Ranks = SINGLE,
    room: Room | None = None,
    together: int = TOGETHER,
) -> FidResult:
    """FID of uint8 `generated` to `reals`, both [N, C, H, W]: the plain training images, not mirrored, none dropped.

    `together` images go through Inception at once, in fp32 without TF32. Features are cached nowhere: the library's cache key
    knows neither weights nor count. Each of several processes extracts a share of them (`assist`). Raises RunError for a file that
    is not Inception's weights, and as `room` does where memory runs out.
    """
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    ranks.share(generated)
    try:
        ours, theirs = (
            fid_features_to_statistics(found)
            for found in features(generated, reals, weights, device, ranks, room or Room(), together)
        )
        value = fid_statistics_to_metric(ours, theirs, verbose=False)[KEY_METRIC_FID]
    except (RuntimeError, KeyError, AssertionError, OSError, ValueError) as error:  # numpy's of infinite features is a ValueError
        if is_out_of_memory(error):
            raise
        raise _unusable(weights, "torch-fidelity could not measure FID", error) from error
    return FidResult(float(value), len(generated), len(reals))


def assist(reals: torch.Tensor, weights: Path, device: torch.device, ranks: Ranks, room: Room, together: int) -> None:
    """This process's share of a `measure` that the first process does at the same time."""
    features(ranks.share(None), reals, weights, device, ranks, room, together)


def features(
    generated: torch.Tensor, reals: torch.Tensor, weights: Path, device: torch.device, ranks: Ranks, room: Room, together: int
) -> list[torch.Tensor]:
    """Inception's features of both sets, float32 [N, 2048] on the CPU; on processes but the first, their share of them."""
    from torch_fidelity.utils import create_feature_extractor

    _require_tensors(weights)
    allowed = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        where = {"cuda": device.type == "cuda", "feature_extractor_weights_path": str(weights), "verbose": False}
        make = partial(create_feature_extractor, "inception-v3-compat", [LAYER], **where)
        extractor = room.once(make, "Inception, which FID needs", device)

        def extracted(images: torch.Tensor, part: slice) -> torch.Tensor:
            seen: torch.Tensor = extractor(images[part].expand(-1, 3, -1, -1).to(device))[0]
            return seen.cpu()

        found = []
        for images in (generated, reals):
            shares = Shares.of(len(images), together, ranks)
            found.append(shares.collect(room.each(shares, partial(extracted, images), "extracting features for FID", device)))
        return found
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed


def _require_tensors(weights: Path) -> None:
    """Raise RunError unless the file holds named tensors alone: the library would run any code that it holds."""
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for files that are not its own; each means the same here
        raise _unusable(weights, "the file of Inception weights cannot be read", error) from error
    if not isinstance(content, dict):
        raise _unusable(weights, "the file of Inception weights cannot be read", TypeError(f"it holds a {type(content).__name__}"))


def _unusable(weights: Path, what: str, error: Exception) -> RunError:
    return RunError(
        f"{what}: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}",
        field="evaluation.fid.weights",
        value=str(weights),
        fix="check that the file is torch-fidelity's InceptionV3 weights and complete",
    )
