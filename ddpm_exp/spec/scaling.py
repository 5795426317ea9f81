"""The linear scaling rule of the learning rate, as guide 003 has it and with its end. For use in experiment files."""

from __future__ import annotations

from ddpm_exp.spec.errors import UserError

LINEAR_SCALING_ENDS = 512
"""Guide 003: the rate scales linearly with images per step up to about here."""

LARGEST_RATE = 1e-3
"""Guide 000's largest, which it calls aggressive and possibly unstable."""


def scaled_rate(base_rate: float, *, images_per_step: int, base_images: int = 64, ends_at: int = LINEAR_SCALING_ENDS) -> float:
    """`base_rate`, good for `base_images` images per step, for another number of them: in proportion up to `ends_at` images
    (Goyal et al. 2017; guide 003, from 2e-4 at 64 images), the same beyond, and 1e-3 at most unless `base_rate` is more.

    Raises UserError for numbers that are not positive.
    """
    for field, value in (("base_rate", base_rate), ("images_per_step", images_per_step), ("base_images", base_images)):
        if not value > 0:
            rule = "rates and numbers of images are more than 0"
            raise UserError(rule, field=field, value=value, fix="give a rate, and the images per step that it was good for")
    in_proportion = base_rate * min(images_per_step, max(ends_at, base_images)) / base_images
    return min(in_proportion, max(LARGEST_RATE, base_rate))
