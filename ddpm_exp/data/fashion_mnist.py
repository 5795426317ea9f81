"""Fashion-MNIST from Debian's package, a folder or torchvision's download. Knows the idx format and nothing of training."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import torch
from torch import Tensor

from ddpm_exp.data.downloads import cache_folder, download
from ddpm_exp.data.examples import Examples
from ddpm_exp.spec.data import FashionMNIST
from ddpm_exp.spec.errors import UserError

CLASS_NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
_FIX = "apt-get install dataset-fashion-mnist (Debian, Ubuntu), or put the four idx files, plain or .gz, into data.root"
_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", 60_000),
    "held_out": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", 10_000),
}


def find(data: FashionMNIST) -> Path:
    """The folder that holds the four files. Looks in `root`, else in Debian's folder and torchvision's cache; downloads
    with torchvision if they are in none. Raises UserError if that fails."""
    root = cache_folder(data.root)
    torchvisions = root / "FashionMNIST" / "raw"
    for folder in (root, torchvisions) if data.root is not None else (DEBIAN, torchvisions):
        if _complete(folder):
            return folder
    from torchvision import datasets

    download("Fashion-MNIST", root, lambda into: datasets.FashionMNIST(str(into), download=True), _FIX)
    return torchvisions


def load_fashion_mnist(data: FashionMNIST) -> tuple[Examples, Examples]:
    """Training (60,000) and held-out (10,000) images, uint8 [N, 1, S, S], with a black border of 2 pixels for S = 32."""
    folder = find(data)
    return _read(folder, "train", data.image_size), _read(folder, "held_out", data.image_size)


def _complete(folder: Path) -> bool:
    return all(_file(folder, name) is not None for images, labels, _ in _FILES.values() for name in (images, labels))


def _file(folder: Path, name: str) -> Path | None:
    """The file plain or compressed; the plain one first, as torchvision leaves both and unpacks after its checksum."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read(folder: Path, part: str, side: int) -> Examples:
    image_file, label_file, count = _FILES[part]
    images = _idx(folder, image_file, (count, 28, 28))
    labels = _idx(folder, label_file, (count,)).long()
    # MNIST's files have the same names and sizes; only Fashion-MNIST has exactly as many images of every class.
    if labels.bincount(minlength=10).tolist() != [count // 10] * 10:
        raise _wrong(folder / label_file, "is not Fashion-MNIST's, which holds equally many images of ten classes")
    border = (side - 28) // 2
    padded = torch.zeros(count, 1, side, side, dtype=torch.uint8)
    padded[:, 0, border : border + 28, border : border + 28] = images
    return Examples(padded, labels, CLASS_NAMES)


def _idx(folder: Path, name: str, shape: tuple[int, ...]) -> Tensor:
    """The uint8 array of an idx file: two zero bytes, type 8, the rank, each size as four big-endian bytes, then the values."""
    path = _file(folder, name) or folder / name
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise _wrong(path, f"cannot be read ({error})") from error
    head = bytes((0, 0, 8, len(shape))) + b"".join(size.to_bytes(4, "big") for size in shape)
    values = 1
    for size in shape:
        values *= size
    if not raw.startswith(head) or len(raw) != len(head) + values:
        raise _wrong(path, f"is not an idx file of {' x '.join(map(str, shape))} bytes")
    return torch.frombuffer(bytearray(raw), dtype=torch.uint8, offset=len(head)).reshape(shape)


def _wrong(path: Path, what: str) -> UserError:
    return UserError(f"{path.name} {what}", field="data.root", value=str(path), fix=f"delete it, then {_FIX}")
