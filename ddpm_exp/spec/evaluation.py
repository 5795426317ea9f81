"""What is measured, on how many images, and how often. Part of the science: results compare only where it agrees."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, MinLen
from pydantic import field_validator

from ddpm_exp.spec.base import EXECUTION, Spec, broken
from ddpm_exp.spec.progress import PositiveAmount

LogSnr = float

FidMetric = Literal["fid", "kid", "inception_score"]
FdMetric = Literal["fd_effnet", "kid_effnet", "precision", "recall"]

FID_METRICS: tuple[FidMetric, ...] = ("fid", "kid", "inception_score")
FD_METRICS: tuple[FdMetric, ...] = ("fd_effnet", "kid_effnet", "precision", "recall")


class FID(Spec):
    """Distances to the training images in Inception's features, through torch-fidelity (FID: Heusel et al. 2017)."""

    images: Annotated[int, Ge(2)] = 50_000
    """Generated images; only 50,000 is comparable with papers."""

    metrics: Annotated[tuple[FidMetric, ...], MinLen(1)] = ("fid",)
    """`fid`; `kid`, which has no bias in the number of images (Binkowski et al. 2018); `inception_score` (Salimans et al. 2016)."""

    weights: Annotated[str | None, EXECUTION] = None
    """File of Inception weights. None: torch's hub cache of this user; nothing is downloaded."""

    @field_validator("metrics")
    @classmethod
    def _once(cls, metrics: tuple[FidMetric, ...]) -> tuple[FidMetric, ...]:
        return _each_once(metrics)


class FD(Spec):
    """Distances to the held-out images in the features of EfficientNet-Lite0, whose weights are a package (extra `fidelity`),
    through torch-fidelity. Not FID, and on another scale; beside each stands what as many training images measure."""

    images: Annotated[int, Ge(4)] = 5_000
    """Generated images. The distance falls with their number, for training images alike: compare at one number only."""

    metrics: Annotated[tuple[FdMetric, ...], MinLen(1)] = FD_METRICS
    """`fd_effnet`, the Frechet distance; `kid_effnet`, which has no bias in the number of images; `precision`, the share of
    generated images among the reals, and `recall`, the reverse (Kynkaanniemi et al. 2019, 3 neighbours)."""

    @field_validator("metrics")
    @classmethod
    def _once(cls, metrics: tuple[FdMetric, ...]) -> tuple[FdMetric, ...]:
        return _each_once(metrics)


def _each_once(metrics: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raises the `broken` error for a metric that is named twice."""
    twice = next((name for name in metrics if metrics.count(name) > 1), None)
    if twice is not None:
        raise broken("each is measured once", field="metrics", value=twice, fix=f"name {twice} once")
    return metrics


class Evaluation(Spec):
    """Measures on held-out images and on samples, with noise that is the same in every arm of a seed and another in every seed."""

    every: PositiveAmount = "10 epochs"
    """How often to evaluate and draw the sample grid; always also before the first step and at the end."""

    held_out: Annotated[int, Ge(1)] = 1024
    """Held-out images that the validation errors average over (or all, if there are fewer)."""

    log_snr: Annotated[tuple[LogSnr, ...], MinLen(1)] = (-1.5, 0.0, 1.5, 3.0, 4.5)
    """Noise levels, as ln(alpha^2 / sigma^2), of `val/denoising`: mean squared error of x0, averaged over them.
    Every arm that is compared must cover them all."""

    reconstruction_log_snr: Annotated[tuple[LogSnr, ...], MinLen(1)] = (4.0, 2.0, 0.0, -1.5)
    """Noise levels from which held-out images are reconstructed in one step, for the picture and its error."""

    likelihood: Annotated[int, Ge(0)] = 0
    """Held-out images (or all, if there are fewer) whose bits per dimension are measured at each evaluation, by the variational
    bound (Ho et al. 2020, eq. 5); needs a schedule on whole times. Of anything but images the bits are those of a density,
    which may be negative. 0: not."""

    likelihood_terms: Annotated[int, Ge(1)] | None = 50
    """Terms of the bound that are drawn for each of these images (or all, if there are fewer), each an evaluation of the
    network, as is the decoder's; the estimate has no bias. None: all of them, with `diffusion.timesteps` evaluations."""

    grid_columns: Annotated[int, Ge(1)] = 8
    """Fixed starting noises per class or prompt in the sample grid (unconditional: this many squared)."""

    samples: Annotated[int, Ge(0)] = 200
    """Samples drawn at each evaluation for the `samples/*` measures, their conditions in the data's own proportions; the grid's
    come beside them where classes or values take turns in it. What is said of classes has as many of each. 0: only the grid."""

    classifier: bool = True
    """Judge drawn images by an independent classifier (scikit-learn, trained on the real training images);
    needs classes or prompts."""

    fid: FID | None = None
    """Measure FID at the end; None: not."""

    fd: FD | None = None
    """Measure distances in the features of EfficientNet-Lite0 at the end; None: not."""
