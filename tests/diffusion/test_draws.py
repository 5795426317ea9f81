"""Draws: the published generator, the right distributions, and nothing but (seed, purpose, ordinal, element) matters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ddpm_exp.diffusion.draws import box_muller, integers, normal, philox, uniform, unit

SHAPE = (3, 5, 7)
FROZEN_TIMES = [989, 56, 818, 991]
FROZEN_NORMALS = [-1.0609865, -0.6975574, -1.7351174]


def ordinals(start: int, count: int) -> torch.Tensor:
    return torch.arange(start, start + count)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_the_generator_gives_the_published_answers(counter: tuple[int, ...], key: tuple[int, int], answer: tuple[int, ...]) -> None:
    words = philox(tuple(torch.tensor([word]) for word in counter), key)  # type: ignore[arg-type]
    assert tuple(int(word) for word in words) == answer


def test_draws_are_the_same_on_every_machine_and_in_every_release() -> None:
    # Frozen: a change here changes every recorded run's noise, and interrupted runs could not be resumed.
    assert integers(0, "time", ordinals(0, 4), 1000).tolist() == FROZEN_TIMES
    torch.testing.assert_close(normal(7, "noise", torch.tensor([123_456_789_012]), (3,))[0], torch.tensor(FROZEN_NORMALS))


@given(
    seed=st.integers(0, 2**63),
    start=st.integers(0, 2**40),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
)
@settings(max_examples=40, deadline=None)
def test_slicing_a_batch_changes_no_draw(seed: int, start: int, sizes: list[int]) -> None:
    whole = ordinals(start, sum(sizes))
    parts = whole.split(sizes)
    assert torch.equal(normal(seed, "noise", whole, SHAPE), torch.cat([normal(seed, "noise", part, SHAPE) for part in parts]))
    assert torch.equal(uniform(seed, "flip", whole, 3), torch.cat([uniform(seed, "flip", part, 3) for part in parts]))
    assert torch.equal(integers(seed, "time", whole, 1000), torch.cat([integers(seed, "time", part, 1000) for part in parts]))


def test_an_element_does_not_depend_on_how_many_are_drawn() -> None:
    assert torch.equal(normal(0, "noise", ordinals(0, 2), (5,)), normal(0, "noise", ordinals(0, 2), (3, 4)).flatten(1)[:, :5])


def test_an_image_seen_again_gets_other_noise() -> None:
    images_per_epoch, image = 100, 17
    first, second = torch.tensor([image]), torch.tensor([image + images_per_epoch])
    assert not torch.isclose(normal(0, "noise", first, SHAPE), normal(0, "noise", second, SHAPE)).any()


def test_high_words_of_the_ordinal_count() -> None:
    assert not torch.isclose(
        normal(0, "noise", torch.tensor([5]), SHAPE), normal(0, "noise", torch.tensor([5 + 2**32]), SHAPE)
    ).any()


def test_normals_are_normal() -> None:
    drawn = normal(3, "noise", ordinals(0, 400), (1000,)).double().flatten()
    assert drawn.isfinite().all()
    assert abs(drawn.mean()) < 5 / math.sqrt(drawn.numel())
    assert abs(drawn.var() - 1) < 5 * math.sqrt(2 / drawn.numel())
    assert stats.kstest(drawn[:100_000].numpy(), "norm").pvalue > 1e-4
    assert drawn.abs().max() > 4.2  # tails are there


def test_uniforms_are_uniform_and_below_one() -> None:
    drawn = uniform(3, "flip", ordinals(0, 400), 500).double().flatten()
    assert drawn.min() >= 0 and drawn.max() < 1
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 1e-4


def test_extreme_words_give_finite_normals_and_uniforms_below_one() -> None:
    first, second = torch.cartesian_prod(*[torch.tensor([0, 1, 2**24, 2**31, 0xFFFFFF7F, 0xFFFFFFFF])] * 2).unbind(1)
    for drawn in box_muller(first, second):
        assert drawn.isfinite().all()
        assert drawn.abs().max() < 6.8
    assert unit(first).min() == 0 and unit(first).max() == 1 - 2**-24


def test_integers_are_even_over_their_range() -> None:
    drawn = integers(1, "time", ordinals(0, 200_000), 7)
    assert stats.chisquare(torch.bincount(drawn, minlength=7).numpy()).pvalue > 1e-4
    assert drawn.min() == 0 and drawn.max() == 6


@pytest.mark.parametrize("other", [{"seed": 1}, {"purpose": "dropout"}, {"start": 1000}])
def test_other_seeds_purposes_and_ordinals_are_independent(other: dict[str, object]) -> None:
    def draw(seed: int = 0, purpose: str = "noise", start: int = 0) -> torch.Tensor:
        return normal(seed, purpose, ordinals(start, 200), (200,)).double().flatten()

    one, two = draw(), draw(**other)  # type: ignore[arg-type]
    correlation = (one * two).mean() / (one.std() * two.std())
    assert abs(correlation) < 5 / math.sqrt(one.numel())
    squares = ((one**2 - 1) * (two**2 - 1)).mean() / 2
    assert abs(squares) < 5 / math.sqrt(one.numel())


def test_elements_of_one_image_are_uncorrelated() -> None:
    drawn = normal(0, "noise", ordinals(0, 20_000), (8,)).double()
    off_diagonal = (drawn.T @ drawn / len(drawn)) - torch.eye(8)
    assert off_diagonal.abs().max() < 6 * math.sqrt(2 / len(drawn))


def test_purposes_do_not_run_into_seeds() -> None:
    assert integers(1, "1:x", ordinals(0, 1), 2**31).item() != integers(11, ":x", ordinals(0, 1), 2**31).item()


@pytest.mark.parametrize("wrong", [torch.zeros(2), torch.zeros(2, 2, dtype=torch.long)])
def test_ordinals_of_another_kind_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"int64 of shape \[B\]"):
        normal(0, "noise", wrong, (1,))


def test_a_shape_of_no_dimensions_is_one_number_per_image() -> None:
    assert uniform(0, "flip", ordinals(0, 6)).shape == (6,)
    assert normal(0, "noise", ordinals(0, 6), ()).shape == (6,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_draws_the_same_and_can_be_captured_in_a_graph() -> None:
    host, device = ordinals(2**35, 16), ordinals(2**35, 16).cuda()
    assert torch.equal(integers(0, "time", host, 1000), integers(0, "time", device, 1000).cpu())
    assert torch.equal(uniform(0, "flip", host, 9), uniform(0, "flip", device, 9).cpu())
    torch.testing.assert_close(normal(0, "noise", host, SHAPE), normal(0, "noise", device, SHAPE).cpu(), atol=2e-6, rtol=0)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        normal(0, "noise", device, SHAPE)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = normal(0, "noise", device, SHAPE)
    device += 16
    graph.replay()
    assert torch.equal(captured, normal(0, "noise", device, SHAPE))
