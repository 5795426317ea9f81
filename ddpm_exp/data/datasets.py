"""From the spec of the data to examples in memory. The one place that knows every data set."""

from __future__ import annotations

from ddpm_exp.data import cifar10, fashion_mnist, folder
from ddpm_exp.data.digits import load_digits
from ddpm_exp.data.examples import Examples, Splits, split
from ddpm_exp.data.files import load_files
from ddpm_exp.data.folder import index_folder
from ddpm_exp.data.image_values import require_values, with_values
from ddpm_exp.data.place import ANY, Room, stays_in_files
from ddpm_exp.data.shapes import value_names
from ddpm_exp.data.shards import index_shards, require_shards
from ddpm_exp.data.stored import Stored
from ddpm_exp.data.subset import check_subset, take_subset
from ddpm_exp.spec.condition import Condition, Unconditional
from ddpm_exp.spec.data import (
    CIFAR10,
    Data,
    Digits,
    FashionMNIST,
    ImageFolder,
    Images,
    Shards,
    training_images,
)
from ddpm_exp.spec.vectors import Gaussians, Points, Sequences, Table


def require(data: Data, condition: Condition | None = None) -> None:
    """Raise UserError, saying how to get it, unless the data is on this machine and has what `condition` asks for as far as
    that can be told quickly; tries a download where torchvision has one.

    Reads no image, so it is fast enough to run before anything else starts.
    """
    everything = training_images(data.but(subset=None))
    if everything is not None:
        check_subset(data.subset, everything)
    names = value_names(condition or Unconditional())
    if isinstance(data, Table):
        from ddpm_exp.data.tables import schema_of

        schema_of(data, names)
    elif isinstance(data, Sequences | Points | Gaussians):
        from ddpm_exp.data.arrays import require_array

        require_array(data, names)
    else:
        _require_images(data, names)


def _require_images(data: Images, names: tuple[str, ...]) -> None:
    if isinstance(data, FashionMNIST):
        fashion_mnist.find(data)
    elif isinstance(data, CIFAR10):
        cifar10.find(data)
    elif isinstance(data, ImageFolder):
        folder.require_images(data)
    elif isinstance(data, Shards):
        require_shards(data)
    require_values(data, names)


def load(data: Data, condition: Condition | None = None, room: Room = ANY, workers: int = 0) -> Splits:
    """Every training example (or the subset) and every held-out one, with the values that `condition` asks for, in memory,
    with their fingerprint.

    Images of a folder or of shards that are more than `room` stay in their files, to be decoded by `workers`.
    Raises UserError where data is missing, unreadable, smaller than the subset or lacks what the condition asks for.
    """
    names = value_names(condition or Unconditional())
    if isinstance(data, Table):
        from ddpm_exp.data.tables import load_table

        return load_table(data, names)
    if isinstance(data, Sequences | Points | Gaussians):
        from ddpm_exp.data.arrays import load_array

        return load_array(data, names)
    require_values(data, names)
    if isinstance(data, Shards) or (isinstance(data, ImageFolder) and room.bytes is not None):
        found = index_files(data)
        if isinstance(data, Shards) or stays_in_files(sum(part.pixel_bytes for part in found), room):
            return load_files(data, found, names, room, workers)
    train, held_out = _images(data, names)
    train, held_out, facts = with_values(names, take_subset(train, data.subset, data.subset_seed), held_out)
    also = folder.beside(data) if isinstance(data, ImageFolder) else b""
    return split(train, held_out, facts, also)


def index_files(data: ImageFolder | Shards) -> tuple[Stored, Stored]:
    """Training and held-out images, found but not decoded; shards are unpacked or fetched where needed."""
    found = index_shards(data) if isinstance(data, Shards) else index_folder(data)
    return take_subset(found[0], data.subset, data.subset_seed), found[1]


def _images(data: Digits | FashionMNIST | CIFAR10 | ImageFolder, names: tuple[str, ...]) -> tuple[Examples, Examples]:
    if isinstance(data, Digits):
        return load_digits(data)
    if isinstance(data, FashionMNIST):
        return fashion_mnist.load_fashion_mnist(data)
    if isinstance(data, CIFAR10):
        return cifar10.load_cifar10(data)
    return folder.load_folder(data, names)
