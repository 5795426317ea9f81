"""What is measured, on how many images, and how often. Part of the science: results compare only where it agrees."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, MinLen

from ddpm_exp.spec.base import EXECUTION, Spec
from ddpm_exp.spec.progress import PositiveAmount

LogSnr = float


class FID(Spec):
    """Frechet inception distance through torch-fidelity (Heusel et al. 2017)."""

    images: Annotated[int, Ge(2)] = 50_000
    """Generated images; only 50,000 is comparable with papers."""

    weights: Annotated[str | None, EXECUTION] = None
    """File of Inception weights. None: torch's hub cache of this user; nothing is downloaded."""


class Evaluation(Spec):
    """Measures on held-out images and on samples, all with noise that is the same for every arm and seed."""

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
    """Images drawn at each evaluation for the `samples/*` measures; classes take equal shares. 0: only the grid."""

    classifier: bool = True
    """Judge drawn images by an independent classifier (scikit-learn, trained on the real training images);
    needs classes or prompts."""

    fid: FID | None = None
    """Measure FID at the end; None: not."""
