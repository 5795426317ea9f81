"""From network to (x0, eps): x = alpha x0 + sigma eps after everything, x0 in range where images are asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.known_data import DIFFUSIONS

from ddpm_exp.diffusion.denoiser import denoiser, kept_in_range
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampling

X = 3 * torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
UNCLIPPED = Sampling(clip_x0=False)


def careless(x: torch.Tensor, c_noise: torch.Tensor, condition: Any) -> torch.Tensor:
    return 2 * x.cos()


@pytest.mark.parametrize("spec", [Sampling(), Sampling(dynamic_threshold=0.9)])
@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "score"])
def test_after_clipping_image_and_noise_still_make_x(prediction: Any, spec: Sampling) -> None:
    diffusion = Diffusion(prediction=prediction)
    for t in (1, 20, 500, 1000):
        level = build_path(diffusion).level(t)
        x0, eps, _ = denoiser(diffusion, spec, careless, condition=None, null=None)(X, level)
        assert x0.abs().max() <= 1
        torch.testing.assert_close(level.alpha * x0 + level.sigma * eps, X, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(DIFFUSIONS))
def test_image_and_noise_make_x_on_every_schedule(name: str) -> None:
    diffusion = DIFFUSIONS[name]
    path = build_path(diffusion)
    ask = denoiser(diffusion, Sampling(), careless, condition=None, null=None, within=None)
    for level in levels(path, 6)[:-1]:
        x = X.double() * path.prior_std
        x0, eps, variance = ask(x, level)
        torch.testing.assert_close(level.alpha * x0 + level.sigma * eps, x, atol=1e-9, rtol=1e-9)
        assert variance is None


def test_only_images_are_clamped() -> None:
    level, diffusion = build_path(Diffusion()).level(900), Diffusion()
    found = denoiser(diffusion, Sampling(), careless, condition=None, null=None, within=None)(X, level)
    expected = denoiser(diffusion, UNCLIPPED, careless, condition=None, null=None)(X, level)
    assert torch.equal(found.x0, expected.x0)
    assert found.x0.abs().max() > 10


@given(quantile=st.floats(0.51, 1.0), size=st.floats(0.1, 10.0))
@settings(max_examples=50, deadline=None)
def test_dynamic_thresholding_clamps_each_image_to_its_own_quantile(quantile: float, size: float) -> None:
    x0 = X * size * torch.tensor([0.01, 0.5, 1.0, 4.0]).view(-1, 1, 1, 1)
    found = kept_in_range(Sampling(dynamic_threshold=quantile), x0)
    bounds = torch.quantile(x0.abs().flatten(1), quantile, dim=1).clamp(min=1.0)
    for image, bound in enumerate(bounds):
        torch.testing.assert_close(found[image], x0[image].clamp(-bound, bound) / bound, atol=1e-6, rtol=1e-5)


def test_dynamic_thresholding_leaves_images_in_range_alone() -> None:
    inside = X / X.abs().max()
    assert torch.equal(kept_in_range(Sampling(dynamic_threshold=0.8), inside), inside)


def test_dynamic_thresholding_keeps_contrast_that_clipping_loses() -> None:
    # The same image, twice as bright: clipping flattens what thresholding scales back.
    clipped, kept = (kept_in_range(spec, X) for spec in (Sampling(), Sampling(dynamic_threshold=1.0)))
    torch.testing.assert_close(kept, X / X.abs().flatten(1).amax(1).view(-1, 1, 1, 1))
    assert (clipped.abs() == 1).float().mean() > 0.5


def test_a_double_precision_sampler_is_answered_in_double_precision() -> None:
    level = build_path(Diffusion()).level(500)
    found = denoiser(Diffusion(), Sampling(), careless, condition=None, null=None)(X.double(), level)
    assert found.x0.dtype == found.eps.dtype == torch.float64
