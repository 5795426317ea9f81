"""torch-fidelity's own command line on folders of PNGs."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image


def export(images: torch.Tensor, folder: Path) -> Path:
    """uint8 `images` [N, 1 or 3, H, W] as one lossless file each, in order."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images.permute(0, 2, 3, 1).contiguous().numpy()):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(folder / f"{number:05d}.png")
    return folder


def fidelity(first: Path, second: Path, *words: str) -> dict[str, float]:
    """What `fidelity --input1 FIRST --input2 SECOND WORDS` prints."""
    from torch_fidelity.fidelity import main

    said = io.StringIO()
    shared = ["fidelity", "--input1", str(first), "--input2", str(second), "--cpu", "--no-cache", "--silent", "--json"]
    with patch.object(sys, "argv", [*shared, "--save-cpu-ram", *words]), contextlib.redirect_stdout(said):
        main()
    found: dict[str, float] = json.loads(said.getvalue())
    return found
