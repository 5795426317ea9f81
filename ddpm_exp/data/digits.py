"""scikit-learn's handwritten digits as 8-bit images. Embedded in the package; nothing is downloaded."""

from __future__ import annotations

import torch

from ddpm_exp.data.examples import Examples
from ddpm_exp.spec.data import Digits

CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def load_digits(data: Digits) -> tuple[Examples, Examples]:
    """Training (1,438) and held-out (359: every fifth) images, uint8 [N, 1, S, S]; the published values 0..16 become 0..255."""
    import numpy as np
    from PIL import Image
    from sklearn import datasets

    published = datasets.load_digits()
    pixels = np.round(published.images * (255 / 16)).astype(np.uint8)
    if data.image_size != 8:
        side = (data.image_size, data.image_size)
        pixels = np.stack([np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC)) for image in pixels])
    every = Examples(torch.from_numpy(pixels)[:, None].contiguous(), torch.from_numpy(published.target).long(), CLASS_NAMES)
    indices = torch.arange(len(every))
    return every.take(indices[indices % 5 != 4]), every.take(indices[indices % 5 == 4])
