"""Inpainting without training: known pixels are kept exactly, and the rest comes to agree with them."""

from __future__ import annotations

import pytest
import torch
from support.known_data import DIFFUSIONS, GaussianData, estimate

from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.repaint import inpaint
from ddpm_exp.diffusion.samplers import STEPS, Estimate, sample
from ddpm_exp.spec.sampling import Sampler, Sampling

ANCESTRAL = Sampling(sampler="ddpm")
KNOWN = torch.rand(8, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
MASK = torch.tensor([[1.0, 0.0]])


def noise(step: int) -> torch.Tensor:
    return torch.randn(8, 2, generator=torch.Generator().manual_seed(step))


def together(x: torch.Tensor, at: Level) -> Estimate:
    """Ideal for data whose two elements are the same number, +0.8 or -0.8 equally often."""
    points = torch.tensor([[0.8, 0.8], [-0.8, -0.8]], dtype=x.dtype)
    distances = (x[:, None] - at.alpha * points).square().sum(-1)
    return estimate(x, (-distances / (2 * at.sigma**2)).softmax(-1) @ points, at)


@pytest.mark.parametrize("name", list(DIFFUSIONS))
@pytest.mark.parametrize("sampler", list(STEPS))
def test_known_elements_are_kept_exactly_and_the_rest_is_finite(sampler: Sampler, name: str, gaussian: GaussianData) -> None:
    path = build_path(DIFFUSIONS[name])
    x = path.prior_std * noise(99)
    found = inpaint(Sampling(sampler=sampler), levels(path, 6), gaussian.denoise, x, KNOWN, MASK, noise, resamples=3)
    assert torch.equal(found[:, 0], KNOWN[:, 0])
    assert found.isfinite().all()


@pytest.mark.parametrize("name", ["linear", "zero-snr", "rectified-flow", "ve"])
def test_the_unknown_agrees_with_the_known_once_levels_are_visited_again(name: str) -> None:
    path = build_path(DIFFUSIONS[name])
    signs = torch.tensor([1.0, -1.0]).repeat(32)
    known = 0.8 * torch.stack([signs, torch.zeros(64)], 1)

    def z(step: int) -> torch.Tensor:
        return torch.randn(64, 2, generator=torch.Generator().manual_seed(step))

    def agreeing(resamples: int) -> float:
        found = inpaint(ANCESTRAL, levels(path, 40), together, path.prior_std * z(99), known, MASK, z, resamples=resamples)
        return float((found[:, 1].sign() == signs).float().mean())

    assert agreeing(10) > 0.98
    assert agreeing(10) >= agreeing(1) > 0.6


def test_nothing_known_is_plain_sampling_from_the_sampler() -> None:
    # Noise for the known part is drawn all the same, so that a deterministic sampler is compared.
    path = build_path(DIFFUSIONS["linear"])
    found = inpaint(Sampling(sampler="ddim"), levels(path, 10), together, noise(99), KNOWN, torch.zeros(1, 2), noise, resamples=1)
    assert torch.equal(found, sample(Sampling(sampler="ddim"), levels(path, 10), together, noise(99), noise))


def test_each_noise_is_drawn_once() -> None:
    path, asked = build_path(DIFFUSIONS["linear"]), []

    def listen(step: int) -> torch.Tensor:
        asked.append(step)
        return noise(step)

    inpaint(ANCESTRAL, levels(path, 5), together, noise(99), KNOWN, MASK, listen, resamples=3)
    # Four levels above data: three visits with two draws each and two jumps back; the step to data draws none.
    assert asked == list(range(4 * (3 * 2 + 2)))


def test_a_jump_back_restores_the_levels_marginal() -> None:
    # Of everything known nothing is sampled: what is left is noising to s and back to t, whose deviation must be sigma_t.
    path, seen = build_path(DIFFUSIONS["rectified-flow"]), []

    def listen(x: torch.Tensor, at: Level) -> Estimate:
        seen.append((at, x))
        return estimate(x, torch.zeros_like(x), at)

    def z(step: int) -> torch.Tensor:
        return torch.randn(20_000, 1, generator=torch.Generator().manual_seed(step))

    known = torch.full((20_000, 1), 0.5)
    inpaint(ANCESTRAL, levels(path, 4), listen, z(99), known, torch.ones(1, 1), z, resamples=2)
    for at, x in seen[1:]:
        assert float(x.mean()) == pytest.approx(0.5 * at.alpha, abs=0.02)
        assert float(x.std()) == pytest.approx(at.sigma, rel=0.02)


def test_no_visit_is_refused() -> None:
    path = build_path(DIFFUSIONS["linear"])
    with pytest.raises(ValueError, match="at least once"):
        inpaint(ANCESTRAL, levels(path, 5), together, noise(99), KNOWN, MASK, noise, resamples=0)
