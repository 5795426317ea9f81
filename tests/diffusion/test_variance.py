"""Variances of the reverse step: DDPM's two, the learned one between them, and the terms of the variational bound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import Normal, kl_divergence

from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.diffusion.variance import StepTable, bound, decoder, log_variance
from ddpm_exp.spec.diffusion import Diffusion

CPU = torch.device("cpu")
GREYS = (torch.arange(256) / 127.5 - 1).view(1, 1, 16, 16)


@pytest.mark.parametrize("spec", [Diffusion(), Diffusion(schedule="cosine"), Diffusion(prediction="v", zero_terminal_snr=True)])
def test_bounds_and_mean_are_ddpms_posterior(spec: Diffusion) -> None:
    path = build_path(spec)
    bars = torch.tensor([path.level(t).alpha ** 2 for t in range(1001)], dtype=torch.float64)
    betas = 1 - bars[1:] / bars[:-1]
    posterior = betas * (1 - bars[:-1]) / (1 - bars[1:])
    steps = StepTable(path, CPU).at(torch.arange(1, 1001))
    torch.testing.assert_close(steps.log_large.double(), betas.log(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(steps.log_small[1:].double(), posterior[1:].log(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(steps.pull.double(), bars[:-1].sqrt() * betas / (1 - bars[1:]), rtol=1e-5, atol=1e-6)


def test_the_decoders_variance_is_the_posteriors_of_time_two() -> None:
    steps = StepTable(build_path(Diffusion()), CPU).at(torch.tensor([1, 2]))
    assert steps.log_small[0] == steps.log_small[1]
    assert steps.pull[0] == 1


def test_the_learned_variance_lies_between_its_bounds_where_the_network_says() -> None:
    small, large = torch.tensor([-8.0, -3.0]), torch.tensor([-4.0, -2.0])
    said = torch.tensor([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]])
    assert log_variance(said, small, large).tolist() == [[-8.0, -6.0, -4.0], [-3.0, -2.5, -2.0]]
    assert torch.equal(log_variance(said[0], -8.0, -4.0), log_variance(said, small, large)[0])


@given(
    t=st.integers(2, 1000),
    said=st.floats(-1.5, 1.5),
    error=st.floats(-2, 2),
    schedule=st.sampled_from(["linear", "cosine", "sigmoid"]),
)
@settings(max_examples=60, deadline=None)
def test_later_terms_are_the_divergence_of_two_normals(t: int, said: float, error: float, schedule: str) -> None:
    path = build_path(Diffusion(schedule=schedule))  # type: ignore[arg-type]
    now, before = path.level(t), path.level(t - 1)
    a = now.alpha / before.alpha
    large = now.sigma**2 - a**2 * before.sigma**2
    small = large * before.sigma**2 / now.sigma**2
    log_var = (1 + said) / 2 * math.log(large) + (1 - said) / 2 * math.log(small)
    shift = before.alpha * large / now.sigma**2 * error
    number = lambda x: torch.tensor(x, dtype=torch.float64)  # noqa: E731
    expected = kl_divergence(
        Normal(number(0.0), number(small).sqrt()), Normal(number(shift), number(log_var / 2).exp())
    ) / math.log(2)
    x0, time = torch.zeros(1, 3), torch.tensor([t])
    steps = StepTable(path, CPU).at(time)
    learned = log_variance(torch.full((1, 3), said), steps.log_small, steps.log_large)
    found = bound(steps, time, x0, x0 + error, learned)
    torch.testing.assert_close(found.double()[0], expected, rtol=2e-3, atol=1e-6)


@given(mean=st.floats(-3, 3), log_var=st.floats(-14, 1))
@settings(max_examples=50, deadline=None)
def test_the_probabilities_of_all_grey_values_add_up_to_one(mean: float, log_var: float) -> None:
    x0 = GREYS.double()
    total = (-decoder(x0, torch.full_like(x0, mean), torch.full_like(x0, log_var))).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("log_var", [-12.0, -6.0, 0.0])
def test_the_decoder_is_the_probability_of_a_bin(log_var: float) -> None:
    mean = torch.linspace(-1, 1, 256).view_as(GREYS).flip(-1)
    found = decoder(GREYS, mean, torch.full_like(GREYS, log_var))
    deviation, x0, mu = math.exp(log_var / 2), GREYS.double().numpy(), mean.double().numpy()
    high, low = (x0 - mu + 1 / 255) / deviation, (x0 - mu - 1 / 255) / deviation
    with_infinite_ends = stats.norm.cdf(high) * (x0 < -0.999) + stats.norm.sf(low) * (x0 > 0.999)
    flip = low + high > 0
    inside = abs(stats.norm.cdf(high * ~flip - low * flip) - stats.norm.cdf(low * ~flip - high * flip)) * (abs(x0) < 0.999)
    expected = with_infinite_ends + inside
    seen = expected > 1e-290
    assert seen.sum() > 20
    torch.testing.assert_close(found.double()[seen], -torch.from_numpy(expected).log()[seen], rtol=1e-4, atol=2e-4)


def test_what_is_not_an_image_has_a_density() -> None:
    x0, mean = torch.randn(5, 7), torch.randn(5, 7)
    found = decoder(x0, mean, torch.full_like(x0, -1.3))
    torch.testing.assert_close(found, -Normal(mean, math.exp(-0.65)).log_prob(x0))


@pytest.mark.parametrize("shape", [(3, 4, 4), (6,)])
@pytest.mark.parametrize(("time", "wrong"), [(2, 0.0), (2, 2.0), (2, 1e6), (500, 1e6), (1000, 1e20)])
def test_terms_and_gradients_are_finite_however_wrong_the_network_is(shape: tuple[int, ...], time: int, wrong: float) -> None:
    # Near noise an eps error is divided by alpha, and the posterior's mean multiplies by it again.
    path, t = build_path(Diffusion(schedule="cosine")), torch.tensor([time])
    steps = StepTable(path, CPU).at(t)
    said = torch.zeros(1, *shape, requires_grad=True)
    x0 = torch.full((1, *shape), -1.0)
    terms = bound(steps, t, x0, x0 + wrong, log_variance(said, steps.log_small, steps.log_large))
    terms.sum().backward()
    assert said.grad is not None
    assert terms.isfinite().all() and said.grad.isfinite().all()


@pytest.mark.parametrize("beta", [1e-4, 1e-10])
def test_the_decoders_gradient_is_finite_at_bad_estimates_of_an_image(beta: float) -> None:
    path, t = build_path(Diffusion(beta_start=beta)), torch.ones(2, dtype=torch.long)
    steps = StepTable(path, CPU).at(t)
    for x0, wrong in ((GREYS.repeat(2, 1, 1, 1), -1.0), (GREYS.repeat(2, 1, 1, 1), 0.0), (-torch.ones(2, 1, 16, 16), -1.0)):
        said = torch.zeros_like(x0, requires_grad=True)
        terms = bound(steps, t, x0, wrong * x0, log_variance(said, steps.log_small, steps.log_large))
        terms.sum().backward()
        assert said.grad is not None
        assert terms.isfinite().all() and said.grad.isfinite().all()


def test_the_best_variance_is_the_posteriors_plus_the_squared_error_of_the_mean() -> None:
    path, t = build_path(Diffusion()), torch.tensor([300])
    steps = StepTable(path, CPU).at(t)
    x0, error = torch.zeros(1, 1), 0.02
    best = (steps.log_small.exp() + (steps.pull * error) ** 2).log().view(1, 1)
    at_best, *others = (float(bound(steps, t, x0, x0 + error, best + off)) for off in (0.0, -0.05, 0.05))
    assert all(other > at_best for other in others)
