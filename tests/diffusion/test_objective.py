"""The objective: recorded runs' numbers by default, its floor in closed form, independent of slicing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ddpm_exp.diffusion import draws
from ddpm_exp.diffusion.network import network_target
from ddpm_exp.diffusion.objective import Objective
from ddpm_exp.diffusion.paths import build_path
from ddpm_exp.spec.diffusion import Diffusion

SCHEDULES = ["linear", "scaled-linear", "cosine", "sigmoid", "vp-linear", "vp-cosine", "rectified-flow", "ve"]
IMAGES = (torch.arange(4 * 3 * 16) * 37 % 256 / 127.5 - 1).view(4, 3, 4, 4)


def objective_of(spec: Diffusion, images_per_step: int = 4) -> Objective:
    return Objective(spec, build_path(spec), images_per_step=images_per_step, device="cpu")


def zeros(spec: Diffusion) -> Any:
    return lambda x, c_noise, condition: torch.zeros_like(torch.cat([x, x], 1) if spec.learned_variance else x)


def test_the_default_computes_what_recorded_runs_computed() -> None:
    spec, ordinals = Diffusion(), torch.arange(100, 104)
    path, objective = build_path(spec), objective_of(spec)
    t = draws.integers(3, "time", ordinals, 1000) + 1
    eps = draws.normal(3, "noise", ordinals, (3, 4, 4))
    bars = torch.tensor([1.0] + [path.level(k).alpha ** 2 for k in range(1, 1001)], dtype=torch.float64)
    alpha, sigma = bars.sqrt().float()[t].view(-1, 1, 1, 1), (1 - bars).sqrt().float()[t].view(-1, 1, 1, 1)
    noised = objective.noised(IMAGES, 3, ordinals)
    assert torch.equal(noised.t, t) and torch.equal(noised.eps, eps)
    torch.testing.assert_close(noised.x, alpha * IMAGES + sigma * eps, rtol=1e-6, atol=1e-7)
    assert torch.equal(noised.c_noise, (t - 1).float()) and noised.importance is None
    asked = []

    def network(x: Tensor, c_noise: Tensor, condition: Any) -> Tensor:
        asked.append((x, c_noise, condition))
        return (x * 0.7).bfloat16()

    losses = objective.losses(network, IMAGES, noised, None)
    assert torch.equal(losses, ((noised.x * 0.7).bfloat16().float() - eps).square().flatten(1).mean(1))
    assert asked[0][0] is noised.x and asked[0][2] is None
    objective.end_step()
    assert objective.state() == {}


def test_a_prefix_draws_other_times_and_noise() -> None:
    ordinals = torch.arange(4)
    noised = objective_of(Diffusion()).noised(IMAGES, 3, ordinals, prefix="validation/")
    assert torch.equal(noised.t, draws.integers(3, "validation/time", ordinals, 1000) + 1)
    assert torch.equal(noised.eps, draws.normal(3, "validation/noise", ordinals, (3, 4, 4)))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_ideal_networks_loss_is_its_floor(gaussian: Any, schedule: Any) -> None:
    # The minimum mean squared error of x0, s^2 sigma^2 / (alpha^2 s^2 + sigma^2), weighted; times SNR it is the loss in eps.
    spec = Diffusion(schedule=schedule, prediction="x0", weight="min-snr")
    path, objective = build_path(spec), objective_of(spec)
    count, ordinals = 2000, torch.arange(2000)
    x0 = gaussian.mean + gaussian.deviation * draws.normal(0, "data", ordinals, (16,))
    if spec.schedule == "ve":
        ideal = gaussian.network(path, "x0")
        network: Any = lambda x, c, condition: ideal(  # noqa: E731
            x * ((4 * c).exp() ** 2 + spec.sigma_data**2).sqrt()[:, None], c, condition
        )
    else:
        network = gaussian.network(path, "x0")
    for share in (0.2, 0.5, 0.9):
        time = path.first + share * (path.last - path.first)
        t = torch.full((count,), time).round().long() if path.discrete else torch.full((count,), time)
        noised = objective.noised_at(x0, draws.normal(0, "noise", ordinals, (16,)), t)
        at, variance = path.level(float(t[0])), gaussian.deviation**2
        floor = variance * at.sigma**2 / (at.alpha**2 * variance + at.sigma**2)
        expected = min((at.alpha / at.sigma) ** 2, 5.0) * floor
        assert float(objective.losses(network, x0, noised, None).mean()) == pytest.approx(expected, rel=0.04)


def test_edms_loss_is_the_networks_own_squared_error_of_unit_variance() -> None:
    spec = Diffusion(schedule="ve", prediction="x0", preconditioning="edm", weight="edm", time_density="log-normal-sigma")
    objective = objective_of(spec)
    noised = objective.noised(IMAGES, 0, torch.arange(4))
    own = network_target(IMAGES, noised.x, noised.at.sigma.view(-1, 1, 1, 1), 0.5)
    losses = objective.losses(lambda x, c, condition: 0.3 * x, IMAGES, noised, None)
    c_in = (noised.at.sigma**2 + 0.25).rsqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(losses, (0.3 * c_in * noised.x - own).square().flatten(1).mean(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        Diffusion(),
        Diffusion(weight="min-snr", time_density="stratified"),
        Diffusion(schedule="rectified-flow", prediction="velocity", time_density="logit-normal"),
        Diffusion(schedule="ve", prediction="x0", preconditioning="edm", weight="edm", time_density="log-normal-sigma"),
        Diffusion(learned_variance=True, time_density="importance", timesteps=10),
    ],
    ids=lambda spec: f"{spec.schedule}-{spec.time_density}",
)
def test_slicing_a_step_changes_no_loss(spec: Diffusion) -> None:
    def losses(slices: int) -> Tensor:
        objective, found = objective_of(spec, 16), []
        for step in range(12):
            for ordinals in torch.arange(16 * step, 16 * step + 16).chunk(slices):
                x0 = IMAGES[ordinals % 4]
                noised = objective.noised(x0, 0, ordinals)
                found.append(objective.losses(zeros(spec), x0, noised, None))
            objective.end_step()
        return torch.cat(found)

    torch.testing.assert_close(losses(1), losses(4), rtol=1e-6, atol=0)


def test_a_learned_variance_leaves_the_mean_to_the_simple_loss() -> None:
    def gradient(spec: Diffusion) -> Tensor:
        said = draws.normal(1, "said", torch.arange(4), (6, 4, 4)).requires_grad_()
        objective = objective_of(spec)
        noised = objective.noised_at(IMAGES, draws.normal(0, "noise", torch.arange(4), (3, 4, 4)), torch.tensor([1, 2, 500, 1000]))
        network = (lambda x, c, n: said) if spec.learned_variance else (lambda x, c, n: said[:, :3])
        objective.losses(network, IMAGES, noised, None).sum().backward()
        assert said.grad is not None
        return said.grad

    plain, learned = gradient(Diffusion()), gradient(Diffusion(learned_variance=True))
    assert torch.equal(plain[:, :3], learned[:, :3])
    assert (learned[:, 3:] != 0).any(dim=(1, 2, 3)).all() and (plain[:, 3:] == 0).all()


def test_the_hybrid_loss_is_the_simple_one_plus_its_share_of_the_bound(gaussian: Any) -> None:
    t, ordinals = torch.tensor([1, 2, 500, 1000]), torch.arange(4)
    eps = draws.normal(0, "noise", ordinals, (3, 4, 4))
    found = {}
    for weight in (0.001, 0.002, 1.0):
        spec = Diffusion(learned_variance=True, variance_weight=weight)
        objective = objective_of(spec)
        found[weight] = objective.losses(zeros(spec), IMAGES, objective.noised_at(IMAGES, eps, t), None)
    simple = eps.square().flatten(1).mean(1)
    bound = found[1.0] - simple
    assert (bound > 0).all()
    torch.testing.assert_close(found[0.001], simple + 0.001 * bound, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0.002], simple + 0.002 * bound, rtol=1e-4, atol=1e-5)


def test_importance_sampling_keeps_the_mean_loss_and_learns_only_from_training() -> None:
    spec = Diffusion(timesteps=10, beta_start=0.01, beta_end=0.5, prediction="x0", weight="snr", time_density="importance")
    objective, path = objective_of(spec, 200), build_path(spec)

    def step(number: int, prefix: str = "") -> tuple[Tensor, Tensor]:
        ordinals = torch.arange(200 * number, 200 * number + 200)
        x0 = IMAGES[ordinals % 4]
        noised = objective.noised(x0, 0, ordinals, prefix=prefix)
        return objective.losses(zeros(spec), x0, noised, None), noised.t

    for number in range(10):
        step(number)
        objective.end_step()
    before = objective.state()
    validation, _ = step(0, "validation/")
    objective.end_step()
    for name, value in objective.state().items():
        assert torch.equal(value, before[name])
    losses, times = zip(*(step(number) for number in range(10, 60)), strict=True)
    snr = torch.tensor([(path.level(k).alpha / path.level(k).sigma) ** 2 for k in range(1, 11)])
    expected = float(snr.mean() * IMAGES.square().mean())
    assert float(torch.cat(losses).mean()) == pytest.approx(expected, rel=0.05)
    assert float(validation.mean()) == pytest.approx(expected, rel=0.6)
    counts = torch.bincount(torch.cat(times), minlength=11)[1:]
    assert counts[0] > 3 * counts[-1]
    again = objective_of(spec, 200)
    again.restore(before)
    assert torch.equal(again.noised(IMAGES, 0, torch.arange(4)).t, objective.noised(IMAGES, 0, torch.arange(4)).t)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("density", ["uniform", "stratified", "importance"])
def test_a_step_can_be_captured_in_a_cuda_graph(density: Any) -> None:
    spec = Diffusion(time_density=density, learned_variance=True, weight="min-snr", timesteps=20)
    objective = Objective(spec, build_path(spec, "cuda"), images_per_step=4, device="cuda")
    images, ordinals = IMAGES.cuda(), torch.arange(4, device="cuda")

    def step() -> Tensor:
        losses = objective.losses(zeros(spec), images, objective.noised(images, 0, ordinals), None)
        objective.end_step()
        return losses

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    state = objective.state()
    ordinals += 4
    expected = step()
    objective.restore(state)
    graph.replay()
    torch.testing.assert_close(captured, expected)
