"""Which data an experiment trains on and holds out. Says nothing about how they are loaded."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from annotated_types import Ge, Gt, Le
from pydantic import Field, model_validator

from ddpm_exp.spec.base import EXECUTION, broken
from ddpm_exp.spec.vectors import EMBEDDED, Examples, Gaussians, Points, Sequences, Table, label_of


class Shape(NamedTuple):
    """Channels, height and width of one image."""

    channels: int
    height: int
    width: int


class _Images(Examples):
    flip: bool = False
    """Mirror training images left to right with probability 1/2. Held-out and reference images are never mirrored."""


class Digits(_Images):
    """scikit-learn's 1,797 handwritten digits, 8x8 grey; embedded, no download. Every fifth image is held out."""

    kind: Literal["digits"] = "digits"

    image_size: Literal[8, 16] = 8
    """Pixels per side: 8 as published, or 16 by bicubic enlargement."""


class FashionMNIST(_Images):
    """Fashion-MNIST: 60,000 training and 10,000 held-out 28x28 grey images of ten kinds of clothing."""

    kind: Literal["fashion-mnist"] = "fashion-mnist"

    image_size: Literal[28, 32] = 32
    """Pixels per side: 28 as published, or 32 with a black border of two pixels."""

    root: Annotated[str | None, EXECUTION] = None
    """Folder with (or for) the files. None: Debian's package if installed, else torchvision's download cache."""


class CIFAR10(_Images):
    """CIFAR-10: 50,000 training and 10,000 held-out 32x32 colour images of ten classes."""

    kind: Literal["cifar10"] = "cifar10"

    root: Annotated[str | None, EXECUTION] = None
    """Folder with (or for) torchvision's files. None: torchvision's download cache of this user."""

    @property
    def image_size(self) -> int:
        """Pixels per side."""
        return 32


class ImageFolder(_Images):
    """A folder of images; sub-folders, if any, are the classes. The shorter side is resized, the centre is kept."""

    kind: Literal["folder"] = "folder"

    root: str
    """The folder. Science, unlike the other data sets' roots: it says which images."""

    image_size: Annotated[int, Ge(8), Le(1024)] = 64
    """Pixels per side after resizing (antialiased) and the centre crop."""

    channels: Literal[1, 3] = 3
    """1 turns images to grey, 3 to RGB."""

    held_out_share: Annotated[float, Gt(0), Le(0.5)] = 0.1
    """Share of images held out, chosen by a hash of each file's relative path."""


class Shards(_Images):
    """Tar files of images in WebDataset's form: entries of one name and different endings are one example, its image (.jpg, .png,
    .webp, .bmp) and its class (.cls: a number or a name; or .json with "cls", "label" or "class")."""

    kind: Literal["shards"] = "shards"

    train: str
    """The training shards, .tar or .tar.gz: a path or an http address, with `{00000..00004}` or `{a,b}` for several, or a path
    with `*`."""

    held_out: str | None = None
    """The held-out shards, likewise. None: a share of the training shards' images."""

    held_out_share: Annotated[float, Gt(0), Le(0.5)] = 0.1
    """Without held-out shards: the share of images held out, chosen by a hash of each entry's name."""

    image_size: Annotated[int, Ge(8), Le(1024)] = 32
    """Pixels per side after resizing (antialiased) and the centre crop."""

    channels: Literal[1, 3] = 3
    """1 turns images to grey, 3 to RGB."""

    class_names: tuple[str, ...] = ()
    """Name of each class, in the order of their numbers. Empty: the numbers are the names."""

    cache: Annotated[str | None, EXECUTION] = None
    """Folder for shards that were unpacked or fetched. None: `ddpm-exp/shards` in the user's cache folder."""

    @model_validator(mode="after")
    def _one_way_to_hold_out(self) -> Shards:
        if self.held_out is not None and self.held_out_share != 0.1:
            raise broken(
                "held-out images come either from shards of their own or as a share",
                field="held_out_share",
                value=self.held_out_share,
                fix="leave it out, or leave held_out out",
            )
        return self


Data = Annotated[
    Digits | FashionMNIST | CIFAR10 | ImageFolder | Shards | Table | Sequences | Points | Gaussians, Field(discriminator="kind")
]
"""Any data set."""

Images = Digits | FashionMNIST | CIFAR10 | ImageFolder | Shards
"""Any data set of images."""

Family = Literal["image", "vector", "sequence", "points"]
"""What an example is: [C, H, W], [features], [channels, length] or [dimensions, count]."""


def family_of(data: Data) -> Family:
    """What one example of `data` is."""
    families: dict[str, Family] = {"table": "vector", "gaussians": "vector", "sequences": "sequence", "points": "points"}
    return families.get(data.kind, "image")


def shape_of(data: Data) -> tuple[int, ...]:
    """Sizes of one example as the network sees it (see `Family`); a `Shape` for images.

    Raises ValueError for a table, whose columns only the file can tell: see `data.shapes`.
    """
    if isinstance(data, Gaussians):
        return (len(data.means[0]),)
    if isinstance(data, Sequences):
        return (data.channels, data.length)
    if isinstance(data, Points):
        return (data.dimensions, data.count)
    if isinstance(data, Table):
        raise ValueError("how many features a table has is known to its file alone")
    channels = (
        data.channels if isinstance(data, ImageFolder | Shards) else {"digits": 1, "fashion-mnist": 1, "cifar10": 3}[data.kind]
    )
    return Shape(channels, data.image_size, data.image_size)


_CLASSES = {"digits": 10, "fashion-mnist": 10, "cifar10": 10, "waves": 3, "outlines": 3, "wine": 3, "breast-cancer": 2, "iris": 3}


def class_count(data: Data) -> int | None:
    """Number of classes where the spec alone knows it; None where only files can tell."""
    if isinstance(data, Gaussians):
        return len(data.means)
    if isinstance(data, Shards):
        return len(data.class_names) or None
    if isinstance(data, Table) and label_of(data) != EMBEDDED.get(data.source):
        return None
    return _CLASSES.get(data.source if isinstance(data, Table | Sequences | Points) else data.kind)


def training_images(data: Data) -> int | None:
    """Examples in one epoch where the spec alone knows it; None where only files can tell and there is no `subset`."""
    everything = {"digits": 1438, "fashion-mnist": 60_000, "cifar10": 50_000}.get(data.kind)
    if data.subset is None or everything is None:
        return data.subset or everything
    return min(data.subset, everything)
