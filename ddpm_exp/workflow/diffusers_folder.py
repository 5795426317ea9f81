"""The folder in which diffusers keeps a UNet2DModel: found and read, without diffusers. Executes nothing that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ddpm_exp.models.diffusers_config import describe
from ddpm_exp.models.diffusers_unet import from_diffusers
from ddpm_exp.spec.errors import UserError
from ddpm_exp.spec.model import UNet

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
_PICKLE = "diffusion_pytorch_model.bin"


class Read(NamedTuple):
    """Weights by our names, and the network that they are for."""

    weights: dict[str, Tensor]
    """Also those whose shapes are not as the config says."""

    model: UNet
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def find(folder: Path) -> Path | None:
    """The folder itself or its `unet/`, whichever holds a model's config; None if neither does."""
    return next((place for place in (folder, folder / "unet") if (place / CONFIG).is_file()), None)


def read(folder: Path, field: str) -> Read:
    """The model in `folder`, which `find` found. Raises UserError, naming `field`, for another model and for pickled weights."""
    config = _config(folder / CONFIG, field)
    described = describe(config)
    conversion = from_diffusers(_tensors(folder, field), config)
    if conversion.mismatched:
        raise UserError(
            f"its weights are not what its own config says: {conversion.mismatched[0]}",
            field=field,
            value=str(folder),
            fix="get both files of the same model again",
        )
    return Read(conversion.weights, described.model, conversion.missing, conversion.unexpected)


def _config(file: Path, field: str) -> dict[str, Any]:
    try:
        config = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"its config cannot be read ({error})", field=field, value=str(file), fix="get the file again") from error
    name = config.get("_class_name", "UNet2DModel") if isinstance(config, dict) else type(config).__name__
    if not isinstance(config, dict) or name != "UNet2DModel":
        raise UserError(
            f"this is a {name}, and only a UNet2DModel has the same form as a network of ours",
            field=field,
            value=str(file),
            fix="choose an unconditional or class-conditional UNet2DModel",
        )
    return config


def _tensors(folder: Path, field: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / WEIGHTS
    if not file.is_file():
        pickled = (folder / _PICKLE).is_file()
        raise UserError(
            f"{_PICKLE} is a pickle, which can run any code when it is read; weights are taken from {WEIGHTS} alone"
            if pickled
            else f"there is a config, but no {WEIGHTS}",
            field=field,
            value=str(folder),
            fix="convert it once where you trust it: UNet2DModel.from_pretrained(FOLDER).save_pretrained(FOLDER)"
            if pickled
            else "get the weights in that form",
        )
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"its weights cannot be read ({error})", field=field, value=str(file), fix="get the file again") from error
