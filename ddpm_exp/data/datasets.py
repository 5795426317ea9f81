"""From the spec of the data to images in memory. The one place that knows every data set."""

from __future__ import annotations

from ddpm_exp.data import cifar10, fashion_mnist, folder
from ddpm_exp.data.digits import load_digits
from ddpm_exp.data.images import ImageSet, Splits, split
from ddpm_exp.data.subset import check_subset, take_subset
from ddpm_exp.spec.data import CIFAR10, Data, Digits, FashionMNIST, training_images


def require(data: Data) -> None:
    """Raise UserError, saying how to get it, unless the data is on this machine; tries a download where torchvision has one.

    Reads no image, so it is fast enough to run before anything else starts.
    """
    everything = training_images(data.but(subset=None))
    if everything is not None:
        check_subset(data.subset, everything)
    if isinstance(data, FashionMNIST):
        fashion_mnist.find(data)
    elif isinstance(data, CIFAR10):
        cifar10.find(data)
    elif not isinstance(data, Digits):
        folder.require_images(data)


def load(data: Data) -> Splits:
    """Every training image (or the subset) and every held-out image, as uint8 in memory, with their fingerprint.

    Raises UserError where data is missing, unreadable or smaller than the subset.
    """
    train, held_out = _everything(data)
    return split(take_subset(train, data.subset, data.subset_seed), held_out)


def _everything(data: Data) -> tuple[ImageSet, ImageSet]:
    if isinstance(data, Digits):
        return load_digits(data)
    if isinstance(data, FashionMNIST):
        return fashion_mnist.load_fashion_mnist(data)
    if isinstance(data, CIFAR10):
        return cifar10.load_cifar10(data)
    return folder.load_folder(data)
