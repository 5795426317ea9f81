"""Images with a hole and small images: what is known is the image's own, what is not is zero, and dropout is per image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_exp.data import load
from ddpm_exp.data.conditions import Conditions, build_conditions
from ddpm_exp.data.examples import Batch, Facts
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.spec.condition import ImageCondition
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.errors import UserError

ORDINALS = torch.arange(4000)


def _conditions(condition: ImageCondition, shape: tuple[int, ...] = (1, 16, 16)) -> Conditions:
    return build_conditions(condition, Facts(shape, ()), uniform)


def _images(n: int, channels: int = 1) -> Batch:
    digits = load(Digits(image_size=16)).train
    x0 = digits.batch(torch.arange(n) % len(digits)).x0
    return Batch(x0.expand(-1, channels, -1, -1) + 0.01, None, None)


def _shown(condition: dict[str, torch.Tensor] | None) -> torch.Tensor:
    assert condition is not None
    assert set(condition) == {"image"}
    return condition["image"]


def _holes(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Height and width of the hole in float [B, H, W], asserting that it is a rectangle."""
    rows, columns = (mask == 0).any(2), (mask == 0).any(1)
    assert torch.equal(mask == 0, rows[:, :, None] & columns[:, None])
    for line in (rows, columns):
        edges = (line[:, 1:] != line[:, :-1]).sum(1) + line[:, 0] + line[:, -1]
        assert bool((edges == 2).all()), "in one piece"
    return rows.sum(1), columns.sum(1)


@settings(max_examples=25, deadline=None)
@given(st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted), st.integers(8, 33), st.integers(8, 33))
def test_holes_are_rectangles_within_the_stated_sizes(sides: list[float], height: int, width: int) -> None:
    conditions = _conditions(ImageCondition(hole=(sides[0], sides[1]), dropout=0.0), (1, height, width))
    shown = _shown(conditions.train(Batch(torch.ones(64, 1, height, width), None, None), 0, torch.arange(64)))
    for found, size in zip(_holes(shown[:, -1]), (height, width), strict=True):
        assert int(found.min()) >= max(1, round(sides[0] * size) - 1)
        assert int(found.max()) <= max(1, round(sides[1] * size) + 1)


def test_holes_reach_every_pixel_and_every_size() -> None:
    shown = _shown(_conditions(ImageCondition(dropout=0.0)).train(_images(4000), 0, ORDINALS))
    heights, widths = _holes(shown[:, -1])
    assert set(heights.tolist()) == set(widths.tolist()) == set(range(4, 9))
    hidden = (shown[:, -1] == 0).float().mean(0)
    assert float(hidden.min()) > 0
    assert float((hidden - hidden.flip(0)).abs().max()) < 0.05, "no side is preferred"
    assert float((hidden - hidden.flip(1)).abs().max()) < 0.05


def test_what_is_known_is_the_image_and_the_hole_shows_nothing() -> None:
    batch = _images(100, channels=3)
    shown = _shown(_conditions(ImageCondition(dropout=0.0), (3, 16, 16)).train(batch, 0, ORDINALS[:100]))
    known = shown[:, -1:] == 1
    assert shown.shape == (100, 4, 16, 16)
    assert torch.equal(shown[:, :3], torch.where(known, batch.x0, 0.0))
    assert set(shown[:, -1].flatten().tolist()) == {0.0, 1.0}


def test_evaluation_takes_the_mean_hole_in_the_middle() -> None:
    shown = _shown(_conditions(ImageCondition()).fixed(_images(3), "cpu"))
    expected = torch.ones(16, 16)
    expected[5:11, 5:11] = 0
    assert torch.equal(shown[:, -1], expected.expand(3, -1, -1))


@pytest.mark.parametrize("task", ["inpainting", "super-resolution"])
def test_images_are_hidden_one_by_one_at_the_stated_rate(task: str) -> None:
    conditions = _conditions(ImageCondition(task=task, dropout=0.25))  # type: ignore[arg-type]
    shown = _shown(conditions.train(_images(4000), 0, ORDINALS))
    hidden = (shown == 0).flatten(1).all(1)
    assert 0.23 < float(hidden.float().mean()) < 0.27
    batches = hidden.reshape(-1, 50)
    assert bool((batches.any(1) & ~batches.all(1)).all())
    assert torch.equal(_shown(conditions.null(2, "cpu")), torch.zeros(2, 2, 16, 16))


@pytest.mark.parametrize("task", ["inpainting", "super-resolution"])
def test_slicing_a_step_changes_nothing(task: str) -> None:
    conditions, batch = _conditions(ImageCondition(task=task, dropout=0.3)), _images(64)  # type: ignore[arg-type]
    whole = _shown(conditions.train(batch, 0, ORDINALS[:64]))
    parts = [_shown(conditions.train(Batch(batch.x0[k : k + 8], None, None), 0, ORDINALS[k : k + 8])) for k in range(0, 64, 8)]
    assert torch.equal(torch.cat(parts), whole)


def test_small_images_are_means_of_squares_at_full_size() -> None:
    batch = _images(5)
    shown = _shown(_conditions(ImageCondition(task="super-resolution", factor=4)).fixed(batch, "cpu"))
    squares = batch.x0.reshape(5, 1, 4, 4, 4, 4)
    assert torch.allclose(shown[:, :1].reshape(squares.shape), squares.mean((3, 5), keepdim=True).expand_as(squares), atol=1e-6)
    assert bool((shown[:, 1] == 1).all())


def test_a_users_own_image_is_shown_around_the_own_mask() -> None:
    conditions, x0 = _conditions(ImageCondition()), _images(1).x0
    mask = torch.ones(1, 1, 16, 16)
    mask[..., :8] = 0
    shown = _shown(conditions.said(3, "cpu", image=(x0, mask)))
    assert torch.equal(shown[2, 0, :, 8:], x0[0, 0, :, 8:])
    assert not bool(shown[:, :, :, :8].any())


def test_a_users_small_image_says_the_same_as_the_large_one_it_comes_from() -> None:
    conditions, x0 = _conditions(ImageCondition(task="super-resolution", factor=2)), _images(1).x0
    small = torch.nn.functional.avg_pool2d(x0, 2)
    from_small = _shown(conditions.said(2, "cpu", image=(small, None)))
    assert torch.allclose(from_small, _shown(conditions.said(2, "cpu", image=(x0, None))))


@pytest.mark.parametrize("image", [(torch.zeros(1, 3, 16, 16), torch.ones(1, 1, 16, 16)), (torch.zeros(1, 1, 16, 16), None)])
def test_an_image_that_does_not_fit_is_refused(image: tuple[torch.Tensor, torch.Tensor | None]) -> None:
    with pytest.raises(UserError) as caught:
        _conditions(ImageCondition()).said(1, "cpu", image=image)
    assert caught.value.field == "image"


def test_data_without_images_and_factors_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UserError, match="no images"):
        _conditions(ImageCondition(), (13,))
    with pytest.raises(UserError, match=r"condition\.factor"):
        _conditions(ImageCondition(task="super-resolution", factor=3))
