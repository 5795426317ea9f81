"""A user's folder of images: found, verified, turned into squares, split. Nothing of training."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import torch

from ddpm_exp.data.examples import Examples
from ddpm_exp.data.image_files import SUFFIXES, image_files
from ddpm_exp.data.image_values import FILE, read_values
from ddpm_exp.data.square import square_pixels
from ddpm_exp.data.stored import Stored
from ddpm_exp.spec.condition import PIXEL_VALUES
from ddpm_exp.spec.data import ImageFolder
from ddpm_exp.spec.errors import UserError


def require_images(data: ImageFolder) -> Path:
    """The folder; UserError unless it exists and holds an image. Stops at the first image found."""
    root = Path(data.root).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise _wrong(data, f"the folder of images {what} (seen from {Path.cwd()})", "write the path of an existing folder")
    if next(image_files(root), None) is None:
        raise _wrong(data, "the folder holds no image", f"put images into it; these are read: {', '.join(SUFFIXES)}")
    return root


def load_folder(data: ImageFolder, names: tuple[str, ...] = ()) -> tuple[Examples, Examples]:
    """Training and held-out images, uint8 [N, C, S, S], ordered by the hash of their relative paths: by name they would be
    sorted by class, and evaluation and judges take the first so many of a set.

    Classes are the first-level sub-folders, if every image lies in one. An image is held out if the hash of its relative path
    falls below `held_out_share`; at least one image is, and at least one trains. Those of
    `names` that values.csv gives come in their own units, float64. Raises UserError naming unreadable images.
    """
    root, paths = _ordered(data)
    images = _decode(data, root, paths)
    labels, class_names = _classes(paths)
    values = read_values(data, root, paths, names)
    told = tuple(name for name in names if name not in PIXEL_VALUES)
    every = Examples(images, labels, class_names, None if values is None else torch.from_numpy(values), told)
    held_out = held_out_of(paths, data.held_out_share)
    return every.take((~held_out).nonzero().flatten()), every.take(held_out.nonzero().flatten())


def index_folder(data: ImageFolder) -> tuple[Stored, Stored]:
    """Training and held-out images as in `load_folder`, not decoded. Raises UserError for fewer than two."""
    root, paths = _ordered(data)
    labels, class_names = _classes(paths)
    entries = torch.tensor([[place, 0, (root / path).stat().st_size] for place, path in enumerate(paths)])
    shape = (data.channels, data.image_size, data.image_size)
    every = Stored(tuple(root / path for path in paths), entries, tuple(paths), shape, labels, class_names)
    held_out = held_out_of(paths, data.held_out_share)
    return every.take((~held_out).nonzero().flatten()), every.take(held_out.nonzero().flatten())


def _ordered(data: ImageFolder) -> tuple[Path, list[str]]:
    root = require_images(data)
    paths = sorted(image_files(root), key=place_of)
    if len(paths) < 2:
        raise _wrong(data, "the folder holds a single image, but one is needed to train on and one to hold out", "add images")
    return root, paths


def beside(data: ImageFolder) -> bytes:
    """What lies in the folder with the images and belongs to the data: the bytes of its values.csv, if there is one."""
    path = Path(data.root).expanduser() / FILE
    return path.read_bytes() if path.is_file() else b""


def _decode(data: ImageFolder, root: Path, paths: list[str]) -> torch.Tensor:
    """Every image as uint8 [N, C, S, S]. Pillow decodes without the interpreter's lock, so threads are enough."""
    _require_memory(data, len(paths) * data.channels * data.image_size**2)
    images = torch.empty(len(paths), data.channels, data.image_size, data.image_size, dtype=torch.uint8)

    def one(place: int) -> str | None:
        try:
            images[place] = torch.from_numpy(square_pixels(root / paths[place], data.image_size, data.channels))
        except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
            return f"{paths[place]} ({str(error) or type(error).__name__})"
        return None

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        unreadable = sorted(problem for problem in pool.map(one, range(len(paths))) if problem is not None)
    if unreadable:
        more = f" and {len(unreadable) - 5} more" if len(unreadable) > 5 else ""
        raise _wrong(
            data,
            f"{len(unreadable)} of {len(paths)} images cannot be read: {'; '.join(unreadable[:5])}{more}",
            "remove these files from the folder or replace them",
        )
    return images


def _require_memory(data: ImageFolder, needed: int) -> None:
    """Raise UserError if `needed` bytes of pixels, and a copy while they are split, do not fit into this machine's memory."""
    available = psutil.virtual_memory().available
    if 2 * needed > available:
        raise UserError(
            f"all images are held in memory while they are split: 2 x {needed / 1e9:.1f} GB, but {available / 1e9:.1f} GB are free",
            field="data.image_size",
            value=data.image_size,
            fix="take a smaller image_size, or fewer images in the folder",
        )


def _classes(paths: list[str]) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    if not all("/" in path for path in paths):
        return None, ()
    folders = [path.split("/", 1)[0] for path in paths]
    names = sorted(set(folders))
    return torch.tensor([names.index(folder) for folder in folders]), tuple(names)


def held_out_of(paths: list[str], share: float) -> torch.Tensor:
    """bool [N]. A path's fate does not depend on which other images there are, so adding some moves none across."""
    places = [place_of(path) for path in paths]
    held_out = torch.tensor([place < share for place in places])
    held_out[min(range(len(paths)), key=places.__getitem__)] = True
    held_out[max(range(len(paths)), key=places.__getitem__)] = False
    return held_out


def place_of(path: str) -> float:
    """In [0, 1), from the hash of a relative path: says nothing about the image."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") / 2**64


def _wrong(data: ImageFolder, rule: str, fix: str) -> UserError:
    return UserError(rule, field="data.root", value=data.root, fix=fix)
