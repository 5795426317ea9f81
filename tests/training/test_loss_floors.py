"""Every network trains to the least loss that any network can have, which for Gaussian data is known in closed form.

Of x0 ~ N(m, s^2) the posterior's variance is s^2 sigma^2 / (alpha^2 s^2 + sigma^2): the floor of the loss of x0 at a level.
A wrong target, weight, level or time anywhere between the data and the optimizer leaves the loss above it, or below.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from support.gaussian_training import Lesson, Measured, normal_examples
from support.known_data import GaussianData
from torch import Tensor

from ddpm_exp.data.datasets import load
from ddpm_exp.diffusion.levels import Coefficients
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.model import MLP, DiT, EncoderDecoder, UNet
from ddpm_exp.spec.vectors import Gaussians

DATA = GaussianData(mean=0.3, deviation=0.5)
WITHIN = 0.05
UNET = UNet(
    base_channels=8, multipliers=(1, 2), blocks_per_level=1, attention_resolutions=(4,), groups=4, time_embedding=32, dropout=0.0
)
TRANSFORMER = DiT(width=32, depth=2, heads=2, patch=2)
VECTORS = MLP(hidden_dim=64, layers=2, time_embedding=32)
EDM = Diffusion(schedule="ve", prediction="x0", preconditioning="edm", weight="edm", time_density="log-normal-sigma")

WORTH: dict[str, Callable[[Coefficients], Tensor]] = {
    "eps": lambda at: (at.alpha / at.sigma) ** 2,
    "x0": lambda at: torch.ones_like(at.sigma),
    "v": lambda at: (at.alpha / at.sigma) ** 2 + 1,
    "velocity of rectified flow": lambda at: at.sigma**-2,
    "x0, EDM's weight": lambda at: (at.sigma**2 + 0.25) / (0.5 * at.sigma) ** 2,
}
"""What a squared error of x0 counts in the loss of each prediction, written out here once more."""

LESSONS: dict[str, tuple[Lesson, tuple[int, ...], GaussianData, str]] = {
    "unet": (Lesson(UNET, Diffusion(schedule="cosine", prediction="v"), "image", 200, 32), (1, 8, 8), DATA, "v"),
    "encoder-decoder": (
        Lesson(EncoderDecoder(hidden_dim=32, time_emb_dim=32), Diffusion(prediction="x0"), "image", 300, 32),
        (1, 8, 8),
        DATA,
        "x0",
    ),
    "dit of images, edm": (
        Lesson(TRANSFORMER, EDM, "image", 300, 32),
        (1, 8, 8),
        GaussianData(mean=0.6, deviation=0.3),
        "x0, EDM's weight",
    ),
    "dit of sequences": (Lesson(TRANSFORMER, Diffusion(schedule="vp-linear"), "sequence", 300, 32), (2, 16), DATA, "eps"),
    "dit of points": (
        Lesson(TRANSFORMER.but(depth=1), Diffusion(schedule="rectified-flow", prediction="velocity"), "points", 300, 32),
        (2, 16),
        DATA,
        "velocity of rectified flow",
    ),
}


def least_error(data: GaussianData, at: Coefficients) -> Tensor:
    """Expected squared error per element of the best x0, [B]."""
    return data.deviation**2 * at.sigma**2 / (at.alpha**2 * data.deviation**2 + at.sigma**2)


def assert_learnt(found: Measured, floor: float) -> None:
    assert found.before > 1.3 * floor, "an untrained network tells nothing"
    assert found.after == pytest.approx(floor, rel=WITHIN)


@pytest.mark.parametrize("name", LESSONS)
def test_a_network_trains_to_the_floor_of_its_loss(name: str) -> None:
    lesson, shape, data, worth = LESSONS[name]
    train, held_out = (normal_examples(data, shape, count, purpose) for count, purpose in ((4096, "train"), (1024, "held out")))
    found = lesson.learn(train, held_out)
    assert_learnt(found, float((least_error(data, found.exact) * WORTH[worth](found.exact)).mean()))


def test_an_mlp_trains_to_the_floor_on_gaussian_vectors() -> None:
    splits = load(Gaussians(means=((0.3, 0.3),), std=0.5, count=30_000))
    found = Lesson(VECTORS, Diffusion(), "vector", 800, 256).learn(splits.train.x, splits.held_out.x.repeat(4, 1))
    assert_learnt(found, float((least_error(DATA, found.exact) * WORTH["eps"](found.exact)).mean()))


def mixture_error(means: tuple[float, ...], deviation: float, alpha: float, sigma: float) -> float:
    """Expected variance of x0 given x, for x0 of a mixture of equally likely normals: an integral over x."""
    points, spread = torch.tensor(means, dtype=torch.float64), math.hypot(alpha * deviation, sigma)
    reach = alpha * max(map(abs, means)) + 9 * spread
    x = torch.linspace(-reach, reach, 4001, dtype=torch.float64)[:, None]
    density = torch.exp(-((x - alpha * points) ** 2) / (2 * spread**2)) / (spread * math.sqrt(2 * math.pi) * len(means))
    share = density / density.sum(1, keepdim=True)
    mean = points + alpha * deviation**2 / spread**2 * (x - alpha * points)
    variance = (deviation * sigma / spread) ** 2 + (share * mean**2).sum(1) - (share * mean).sum(1) ** 2
    return float(torch.trapezoid(density.sum(1) * variance, x[:, 0]))


def test_an_mlp_trains_to_the_floor_on_a_mixture_of_two() -> None:
    means, deviation, spec = (-1.0, 1.0), 0.25, Diffusion(schedule="sigmoid")
    splits = load(Gaussians(means=tuple((mean,) for mean in means), std=deviation, count=30_000))
    found = Lesson(VECTORS, spec, "vector", 1200, 256).learn(splits.train.x, splits.held_out.x.repeat(4, 1))
    path = build_path(spec)
    levels = [path.level(time) for time in range(1, path.timesteps + 1)]
    table = torch.tensor([mixture_error(means, deviation, at.alpha, at.sigma) for at in levels], dtype=torch.float64)
    floor = float((table[found.noised.t - 1] * WORTH["eps"](found.exact)).mean())
    # The best of all linear denoisers, which sees no more than the mixture's variance, stays a third above.
    linear = float((least_error(GaussianData(0.0, math.sqrt(1 + deviation**2)), found.exact) * WORTH["eps"](found.exact)).mean())
    assert linear > 1.3 * floor
    assert_learnt(found, floor)


def test_the_mixtures_integral_is_the_closed_form_where_there_is_one() -> None:
    at = Coefficients(torch.tensor([0.8]), torch.tensor([0.6]))
    assert mixture_error((0.3,), 0.5, 0.8, 0.6) == pytest.approx(float(least_error(DATA, at)), rel=1e-6)
