"""Samplers on Gaussian data, where the ideal denoiser, the flow and every moment are known exactly."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.known_data import DIFFUSIONS, GaussianData, estimate

from ddpm_exp.diffusion.ancestral import transition
from ddpm_exp.diffusion.denoiser import denoiser
from ddpm_exp.diffusion.grids import levels
from ddpm_exp.diffusion.levels import Level
from ddpm_exp.diffusion.ode import FARTHEST, euler
from ddpm_exp.diffusion.paths import Path, build_path
from ddpm_exp.diffusion.samplers import STEPS, Denoise, sample, trajectory
from ddpm_exp.diffusion.step import Move, length, ratio
from ddpm_exp.spec.diffusion import Diffusion
from ddpm_exp.spec.sampling import Sampler, Sampling

X = torch.linspace(-2, 2, 5, dtype=torch.float64).view(-1, 1)


def silent(step: int) -> torch.Tensor:
    raise AssertionError("deterministic sampling asked for noise")


def in_time(path: Path, steps: int) -> list[Level]:
    """From the noisiest time to 0.001, evenly in time."""
    return [path.level(1.0 - 0.999 * k / steps) for k in range(steps + 1)]


def in_log_snr(path: Path, steps: int) -> list[Level]:
    """From log-SNR -8 to 8, evenly."""
    return [path.at_log_snr(-8.0 + 16.0 * k / steps) for k in range(steps + 1)]


def orders(error: Callable[[int], float], steps: tuple[int, ...] = (100, 200, 400)) -> list[float]:
    """Observed order of convergence between each number of steps and the next, its double."""
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise([error(n) for n in steps])]


def flow_error(gaussian: GaussianData, sampler: Sampler, grid: list[Level]) -> float:
    x = X * gaussian.spread(grid[0])
    drawn = sample(Sampling(sampler=sampler), grid, gaussian.denoise, x, silent)
    return float((drawn - gaussian.flow(x, grid[0], grid[-1])).abs().max())


@pytest.mark.parametrize("name", ["linear", "cosine", "zero-snr"])
@pytest.mark.parametrize("sampler", ["ddim", "euler"])
def test_ddim_follows_the_probability_flow_to_first_order(gaussian: GaussianData, sampler: Sampler, name: str) -> None:
    slower = {} if name == "cosine" else {"beta_start": 1e-4 / 8, "beta_end": 0.02 / 8}
    path = build_path(DIFFUSIONS[name].but(timesteps=8000, **slower))
    assert orders(lambda n: flow_error(gaussian, sampler, levels(path, n))) == pytest.approx([1.0, 1.0], abs=0.15)
    assert flow_error(gaussian, sampler, levels(path, 400)) < 0.02


@pytest.mark.parametrize("grid", [in_time, in_log_snr])
@pytest.mark.parametrize("name", ["vp-cosine", "rectified-flow"])
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("euler", 1), ("heun", 2)])
def test_observed_orders_on_real_times_down_to_a_thousandth(
    gaussian: GaussianData, sampler: Sampler, order: int, name: str, grid: Any
) -> None:
    path = build_path(DIFFUSIONS[name])
    assert orders(lambda n: flow_error(gaussian, sampler, grid(path, n))) == pytest.approx([order] * 2, abs=0.15)


@pytest.mark.parametrize("name", ["vp-linear", "ve"])
@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("edm-stochastic", 2)])
def test_observed_orders_where_the_flow_bends_near_data(gaussian: GaussianData, sampler: Sampler, order: int, name: str) -> None:
    path, spec = build_path(DIFFUSIONS[name]), Sampling(sampler=sampler)
    if sampler == "edm-stochastic":
        spec = spec.but(churn=0.0)  # without fresh noise it is Heun in sigma / alpha

    def error(steps: int) -> float:
        grid = in_log_snr(path, steps)
        x = X * gaussian.spread(grid[0])
        return float((sample(spec, grid, gaussian.denoise, x, silent) - gaussian.flow(x, grid[0], grid[-1])).abs().max())

    assert orders(error) == pytest.approx([order] * 2, abs=0.15)


def test_heun_keeps_its_order_beyond_the_level_where_its_variable_is_inverted(gaussian: GaussianData) -> None:
    path = build_path(DIFFUSIONS["cosine"])

    def error(steps: int) -> float:
        grid = [path.at_log_snr(-18.0 + 9.0 * k / steps) for k in range(steps + 1)]
        assert ratio(grid[-1]) > FARTHEST
        return flow_error(gaussian, "heun", grid)

    assert orders(error, (20, 40, 80)) == pytest.approx([2.0, 2.0], abs=0.15)


@pytest.mark.parametrize("name", ["linear", "vp-cosine", "rectified-flow", "ve"])
@pytest.mark.parametrize("sampler", ["dpm++2m", "unipc"])
def test_multistep_samplers_of_the_flow_have_order_two_or_more(gaussian: GaussianData, sampler: Sampler, name: str) -> None:
    path = build_path(DIFFUSIONS[name])
    found = orders(lambda n: flow_error(gaussian, sampler, in_log_snr(path, n)), (50, 100, 200))
    # The corrector gives UniPC one order more than its predictor (Zhao et al. 2023, theorem 3.1), its start aside.
    assert min(found) > 1.85
    assert max(found) < (2.2 if sampler == "dpm++2m" else 3.2)


@pytest.mark.parametrize(("steps", "within"), [(10, 0.1), (25, 0.01)])
@pytest.mark.parametrize("sampler", ["dpm++2m", "unipc"])
def test_a_step_far_longer_than_the_last_one_follows_no_slope(sampler: Sampler, steps: int, within: float) -> None:
    # The last step but one of `linspace` is ten times as long as its neighbour. With the slope of so short a step the deviation
    # was 0.89 (`dpm++2m`) and 0.91 (`unipc`) at 10 steps, 0.73 and 0.72 at 25.
    gaussian, path = GaussianData(mean=0.0, deviation=0.64), build_path(Diffusion())
    drawn = sample(Sampling(sampler=sampler), levels(path, steps, "linspace"), gaussian.denoise, X, silent)
    deviation = float(drawn[-1] / X[-1])
    assert deviation == pytest.approx(gaussian.deviation, abs=within)
    evenly = sample(Sampling(sampler=sampler), levels(path, steps), gaussian.denoise, X, silent)
    assert deviation == pytest.approx(float(evenly[-1] / X[-1]), abs=0.02)  # no worse than steps of one length


def told(believed: Callable[[float], float]) -> Denoise:
    """A denoiser whose x0 is a function of ln(alpha / sigma) alone, so that the steps are quadratures."""
    return lambda x, at: estimate(x, torch.full_like(x, believed(math.log(at.alpha / at.sigma))), at)


def still(step: int) -> torch.Tensor:
    """No noise: the step's result is its mean."""
    return torch.zeros_like(X)


@pytest.mark.parametrize("name", ["linear", "rectified-flow", "ve"])
def test_the_stochastic_multistep_sampler_has_order_three(name: str) -> None:
    path = build_path(DIFFUSIONS[name])

    def error(steps: int) -> float:
        grid = in_log_snr(path, steps)
        t, s = grid[0], grid[-1]
        start, end = (math.log(level.alpha / level.sigma) for level in (t, s))
        left = math.exp(2 * (start - end))
        # The integral of 2 exp(-2 (end - l)) sin(l) dl from start to end.
        integral = (2 * (2 * math.sin(end) - math.cos(end)) - left * 2 * (2 * math.sin(start) - math.cos(start))) / 5
        exact = s.sigma / t.sigma * math.sqrt(left) * X + s.alpha * integral
        drawn = sample(Sampling(sampler="dpm++3m-sde"), grid, told(math.sin), X, still)
        return float((drawn - exact).abs().max()) / s.alpha

    assert orders(error) == pytest.approx([3.0, 3.0], abs=0.2)


def test_the_stochastic_multistep_sampler_is_exact_where_x0_is_a_parabola() -> None:
    # From the third step on; before, there are not yet three points to lay it through.
    t, u, v, s = (build_path(DIFFUSIONS["rectified-flow"]).at_log_snr(at) for at in (-4.0, -3.5, -2.6, -1.4))
    states = list(trajectory(Sampling(sampler="dpm++3m-sde"), [t, u, v, s], told(lambda at: at**2), X, still))
    start, h = math.log(v.alpha / v.sigma), length(v, s)
    end, left = start + h, math.exp(-2 * h)
    integral = (end**2 - end + 0.5) - left * (start**2 - start + 0.5)
    exact = s.sigma / v.sigma * math.sqrt(left) * states[1].x + s.alpha * integral
    torch.testing.assert_close(states[2].x, exact, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["linear", "zero-snr", "rectified-flow", "ve"])
def test_the_first_stochastic_multistep_step_is_the_ancestral_one(gaussian: GaussianData, name: str) -> None:
    path = build_path(DIFFUSIONS[name])
    ends = [
        sample(Sampling(sampler=sampler), levels(path, 20)[:2], gaussian.denoise, path.prior_std * X, lambda step: X.flip(0))
        for sampler in ("dpm++3m-sde", "ddpm")  # type: ignore[arg-type]
    ]
    torch.testing.assert_close(*ends, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", ["linear", "rectified-flow", "ve"])
def test_the_stochastic_multistep_sampler_has_the_means_of_the_reverse_sde(gaussian: GaussianData, name: str) -> None:
    # x0's expectation does not change along them, so that a step of any length is exact.
    grid = in_log_snr(build_path(DIFFUSIONS[name]), 5)
    x = X * gaussian.spread(grid[0])
    drawn = sample(Sampling(sampler="dpm++3m-sde"), grid, gaussian.denoise, x, still)
    torch.testing.assert_close(drawn, gaussian.backward(x, grid[0], grid[-1]), atol=1e-10, rtol=0)


def test_euler_is_ddim_on_rectified_flow(gaussian: GaussianData) -> None:
    grid = levels(build_path(DIFFUSIONS["rectified-flow"]), 25)
    x = torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    ends = [sample(Sampling(sampler=sampler), grid, gaussian.denoise, x, silent) for sampler in ("euler", "ddim")]  # type: ignore[arg-type]
    torch.testing.assert_close(*ends, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["linear", "zero-snr", "ve"])
def test_euler_is_ddim_where_sigma_over_alpha_is_the_variable(gaussian: GaussianData, name: str) -> None:
    path = build_path(DIFFUSIONS[name])
    x = path.prior_std * torch.randn(100, 1, generator=torch.Generator().manual_seed(0))
    ends = [sample(Sampling(sampler=sampler), levels(path, 25), gaussian.denoise, x, silent) for sampler in ("euler", "ddim")]  # type: ignore[arg-type]
    assert torch.equal(*ends)


def test_ddim_is_the_euler_step_in_sigma_over_alpha(gaussian: GaussianData) -> None:
    path = build_path(Diffusion())
    here, there = path.level(700), path.level(500)
    x0, eps, _ = gaussian.denoise(X, here)
    in_ratio = X / here.alpha + (there.sigma / there.alpha - here.sigma / here.alpha) * eps
    move = transition(Sampling(sampler="ddim"), here, there)
    torch.testing.assert_close(move.x0 * x0 + move.eps * eps, there.alpha * in_ratio, atol=1e-12, rtol=0)


def test_euler_on_real_times_follows_the_velocity(gaussian: GaussianData) -> None:
    path = build_path(DIFFUSIONS["vp-linear"])
    t, s = path.level(0.6), path.level(0.5)
    x0, eps, _ = gaussian.denoise(X, t)
    assert t.d_alpha is not None and t.d_sigma is not None
    stepped = euler(Sampling(sampler="euler"), Move(t, s, 1), X, gaussian.denoise, lambda: X, ()).x
    torch.testing.assert_close(stepped, X - 0.1 * (t.d_alpha * x0 + t.d_sigma * eps), atol=1e-12, rtol=0)


def test_heun_on_ve_is_edms_algorithm_1(gaussian: GaussianData) -> None:
    grid = levels(build_path(DIFFUSIONS["ve"]), 18, "karras")
    x = start = 80 * X
    for t, s in itertools.pairwise(level.sigma for level in grid):
        at = next(level for level in grid if level.sigma == t)
        slope = (x - gaussian.x0(x, at)) / t
        ahead = x + (s - t) * slope
        if s > 0:
            then = next(level for level in grid if level.sigma == s)
            ahead = x + (s - t) * (slope + (ahead - gaussian.x0(ahead, then)) / s) / 2
        x = ahead
    torch.testing.assert_close(sample(Sampling(sampler="heun"), grid, gaussian.denoise, start, silent), x, atol=1e-9, rtol=0)


def test_edm_stochastic_is_edms_algorithm_2(gaussian: GaussianData) -> None:
    path, spec = build_path(DIFFUSIONS["ve"]), Sampling(sampler="edm-stochastic")
    grid = levels(path, 18, "karras")

    def z(step: int) -> torch.Tensor:
        return torch.randn(5, 1, generator=torch.Generator().manual_seed(step)).double()

    x = start = 80 * X
    for step, (t, s) in enumerate(itertools.pairwise(grid)):
        gamma = min(40 / 18, math.sqrt(2) - 1) if 0.05 <= t.sigma <= 50 else 0.0
        noisier = t.sigma * (1 + gamma)
        x = x + math.sqrt(noisier**2 - t.sigma**2) * 1.003 * z(step)
        at = Level(0, 1.0, noisier, 0)
        slope = (x - gaussian.x0(x, at)) / noisier
        ahead = x + (s.sigma - noisier) * slope
        if s.sigma > 0:
            ahead = x + (s.sigma - noisier) * (slope + (ahead - gaussian.x0(ahead, s)) / s.sigma) / 2
        x = ahead
    torch.testing.assert_close(sample(spec, grid, gaussian.denoise, start, z), x, atol=1e-8, rtol=0)


def drawn_moments(gaussian: GaussianData, spec: Sampling, path: Path) -> tuple[float, float]:
    """Mean and deviation of what the sampler draws, without chance: it is affine in x and in every z, so that one
    batch of unit impulses yields all of its coefficients."""
    rows = spec.steps + 2

    def impulse(index: int, size: float = 1.0) -> torch.Tensor:
        one = torch.zeros(rows, 1, dtype=torch.float64)
        one[index] = size
        return one

    grid = levels(path, spec.steps, spec.grid)
    ends = sample(spec, grid, gaussian.denoise, impulse(1, path.prior_std), lambda step: impulse(step + 2)).flatten()
    return float(ends[0]), float((ends[1:] - ends[0]).square().sum().sqrt())


def recursed_moments(gaussian: GaussianData, spec: Sampling, path: Path) -> tuple[float, float]:
    """The same by the DDPM posterior, moment by moment (Ho et al. 2020, eq. 7, between any two times)."""
    mean, variance = 0.0, path.prior_std**2
    for t, s in itertools.pairwise(levels(path, spec.steps)):
        gain = t.alpha * gaussian.deviation**2 / (t.alpha**2 * gaussian.deviation**2 + t.sigma**2)
        a = t.alpha / s.alpha
        forward = t.sigma**2 - a**2 * s.sigma**2
        of_x, of_x0 = a * s.sigma**2 / t.sigma**2, s.alpha * forward / t.sigma**2
        slope = of_x + of_x0 * gain
        noise = 0.0 if s.sigma == 0 else forward * (1.0 if spec.variance == "large" else s.sigma**2 / t.sigma**2)
        mean = slope * mean + of_x0 * gaussian.mean * (1 - gain * t.alpha)
        variance = slope**2 * variance + noise
    return mean, math.sqrt(variance)


@pytest.mark.parametrize("name", ["linear", "cosine", "vp-linear", "rectified-flow", "ve"])
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("steps", [10, 125, 1000])
def test_ancestral_sampling_has_exactly_the_moments_of_its_recursion(
    gaussian: GaussianData, steps: int, variance: Any, name: str
) -> None:
    path = build_path(DIFFUSIONS[name])
    spec = Sampling(sampler="ddpm", steps=steps, variance=variance)
    assert drawn_moments(gaussian, spec, path) == pytest.approx(recursed_moments(gaussian, spec, path), rel=1e-8, abs=1e-8)


def test_a_thousand_small_variance_steps_draw_slightly_too_narrowly(gaussian: GaussianData) -> None:
    # The reason why ancestral samples are never compared with the data's own deviation, 0.4.
    _, deviation = drawn_moments(gaussian, Sampling(sampler="ddpm", steps=1000), build_path(Diffusion()))
    assert deviation == pytest.approx(0.3962, abs=5e-5)


@pytest.mark.parametrize("name", list(DIFFUSIONS))
@pytest.mark.parametrize("sampler", list(STEPS))
def test_every_sampler_draws_the_datas_moments(sampler: Sampler, name: str, gaussian: GaussianData) -> None:
    mean, deviation = drawn_moments(gaussian, Sampling(sampler=sampler, steps=100), build_path(DIFFUSIONS[name]))
    # 0.308 is not 0.3: the linear schedule ends at alpha = 0.006, not at pure noise, where its samplers start.
    assert mean == pytest.approx(0.3, abs=0.01)
    assert deviation == pytest.approx(0.4, rel={"ddim": 0.04, "euler": 0.04, "ddpm": 0.09}.get(sampler, 0.025))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
@pytest.mark.parametrize(
    "spec", [Sampling(sampler="ddim", steps=20), Sampling(sampler="ddpm", steps=20), Sampling(sampler="dpm++2m", steps=20)]
)
def test_samples_do_not_depend_on_what_the_ideal_network_predicts(gaussian: GaussianData, spec: Sampling, prediction: Any) -> None:
    path, diffusion = build_path(Diffusion()), Diffusion(prediction=prediction)
    ask = denoiser(diffusion, spec, gaussian.network(path, prediction), condition=None, null=None, within=None)
    found, expected = (sample(spec, levels(path, 20), each, X, lambda step: X.flip(0)) for each in (ask, gaussian.denoise))
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
