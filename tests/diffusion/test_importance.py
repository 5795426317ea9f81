"""Importance sampling of times: uniform at first, then by the loss's root mean square; unbiased; independent of slicing."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from ddpm_exp.diffusion.importance import OBSERVATIONS, UNIFORM_SHARE, Importance

T, STEP = 8, 64


def losses_of(t: torch.Tensor) -> torch.Tensor:
    return t.float() ** 2


def trained(steps: int, slices: int = 1, seed: int = 0) -> Importance:
    importance = Importance(T, STEP, "cpu")
    for step in range(steps):
        for ordinals in torch.arange(step * STEP, (step + 1) * STEP).chunk(slices):
            t, _ = importance.draw(seed, "time", ordinals)
            importance.observe(ordinals, t, losses_of(t))
        importance.end_step()
    return importance


def test_times_are_uniform_until_each_has_been_seen_ten_times() -> None:
    importance = Importance(T, STEP, "cpu")
    t, weight = importance.draw(0, "time", torch.arange(20_000))
    assert t.min() == 1 and t.max() == T
    assert stats.chisquare(torch.bincount(t - 1).numpy()).pvalue > 1e-4
    assert torch.equal(weight, torch.ones_like(weight))
    rare = torch.cat([torch.full((OBSERVATIONS,), time) for time in range(1, T)] + [torch.full((OBSERVATIONS - 1,), T)])
    full = Importance(T, 100, "cpu")
    full.observe(torch.arange(len(rare)), rare, losses_of(rare))
    full.end_step()
    assert (full.draw(0, "time", torch.arange(100))[1] == 1).all()
    full.observe(torch.tensor([0]), torch.tensor([T]), losses_of(torch.tensor([T])))
    full.end_step()
    assert (full.draw(0, "time", torch.arange(100))[1] != 1).any()


def test_times_are_then_drawn_by_the_root_mean_square_loss() -> None:
    importance = trained(20)
    t, weight = importance.draw(1, "time", torch.arange(50_000))
    share = losses_of(torch.arange(1, T + 1)).double()
    expected = (1 - UNIFORM_SHARE) * share / share.sum() + UNIFORM_SHARE / T
    assert stats.chisquare(torch.bincount(t - 1, minlength=T).numpy(), (expected * 50_000).numpy()).pvalue > 1e-4
    torch.testing.assert_close(weight.double(), 1 / (T * expected[t - 1]), rtol=1e-5, atol=0)


def test_the_weighted_mean_is_the_mean_over_uniform_times_and_varies_less() -> None:
    t, weight = trained(20).draw(1, "time", torch.arange(200_000))
    weighted = losses_of(t) * weight
    uniform = losses_of(torch.arange(1, T + 1))
    assert float(weighted.mean()) == pytest.approx(float(uniform.mean()), rel=0.01)
    assert weighted.std() < 0.2 * uniform.std()


def test_all_of_a_step_shares_one_density_however_it_is_sliced() -> None:
    whole, sliced = trained(12), trained(12, slices=4)
    for name, value in whole.state().items():
        assert torch.equal(value, sliced.state()[name])
    ordinals = torch.arange(STEP)
    assert torch.equal(whole.draw(0, "time", ordinals)[0], sliced.draw(0, "time", ordinals)[0])


def test_the_order_in_which_losses_arrive_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    losses, t = torch.rand(STEP, generator=generator), torch.randint(1, T + 1, (STEP,), generator=generator)
    states = []
    for order in (torch.arange(STEP), torch.randperm(STEP, generator=generator)):
        importance = Importance(T, STEP, "cpu")
        importance.observe(order, t[order], losses[order])
        importance.end_step()
        states.append(importance.state()["second_moment"])
    assert torch.equal(*states)


def test_the_second_moment_is_the_mean_at_first_and_follows_the_losses_later() -> None:
    importance = Importance(2, 4, "cpu")
    times = torch.tensor([1, 1, 1, 2])
    importance.observe(torch.arange(4), times, torch.tensor([1.0, 2.0, 3.0, 7.0]))
    importance.end_step()
    torch.testing.assert_close(importance.state()["second_moment"], torch.tensor([14 / 3, 49.0]).double())
    assert importance.state()["observed"].tolist() == [3, 1]
    for _ in range(60):
        importance.observe(torch.arange(4), times, torch.full((4,), 0.5))
        importance.end_step()
    torch.testing.assert_close(importance.state()["second_moment"][0], torch.tensor(0.25).double(), rtol=1e-3, atol=0)


def test_losses_that_are_not_finite_are_left_out() -> None:
    importance = Importance(2, 4, "cpu")
    importance.observe(torch.arange(4), torch.tensor([1, 1, 2, 2]), torch.tensor([3.0, float("inf"), float("nan"), 2.0]))
    importance.end_step()
    assert importance.state()["second_moment"].tolist() == [9.0, 4.0]
    assert importance.state()["observed"].tolist() == [1, 1]


def test_an_interrupted_run_goes_on_with_the_same_density() -> None:
    straight, again = trained(20), Importance(T, STEP, "cpu")
    again.restore(straight.state())
    ordinals = torch.arange(1000)
    for one, two in zip(straight.draw(3, "time", ordinals), again.draw(3, "time", ordinals), strict=True):
        assert torch.equal(one, two)


def test_the_state_never_moves() -> None:
    importance = trained(3)
    addresses = {name: value.data_ptr() for name, value in vars(importance).items() if isinstance(value, torch.Tensor)}
    importance.restore(importance.state())
    importance.draw(0, "time", torch.arange(4))
    importance.observe(torch.arange(4), torch.tensor([1, 2, 3, 4]), torch.ones(4))
    importance.end_step()
    assert addresses == {name: value.data_ptr() for name, value in vars(importance).items() if isinstance(value, torch.Tensor)}
    assert len(addresses) == 5


def test_losses_of_zero_leave_times_uniform() -> None:
    importance = Importance(2, 40, "cpu")
    importance.observe(torch.arange(40), torch.arange(40) % 2 + 1, torch.zeros(40))
    importance.end_step()
    t, weight = importance.draw(0, "time", torch.arange(1000))
    assert (weight == 1).all() and 400 < (t == 1).sum() < 600


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_captured_graph_draws_by_the_density_of_each_step() -> None:
    host, device = Importance(T, STEP, "cpu"), Importance(T, STEP, "cuda")
    ordinals = torch.arange(STEP, device="cuda")

    def step() -> torch.Tensor:
        t, _ = device.draw(0, "time", ordinals)
        device.observe(ordinals, t, losses_of(t))
        device.end_step()
        return t

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.synchronize()
    device.restore(host.state())
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    device.restore(host.state())
    for number in range(10):
        ordinals.copy_(torch.arange(number * STEP, (number + 1) * STEP))
        graph.replay()
        on_host = torch.arange(number * STEP, (number + 1) * STEP)
        t, _ = host.draw(0, "time", on_host)
        assert torch.equal(t, captured.cpu())
        host.observe(on_host, t, losses_of(t))
        host.end_step()
