"""Batches do not depend on how a step is sliced; flips are per image, keyed and fair."""

import pytest
import torch

from ddpm_exp.data.batches import Batches
from ddpm_exp.data.examples import Examples
from ddpm_exp.data.order import index_of
from ddpm_exp.data.pixels import to_model_range, to_uint8
from ddpm_exp.data.source import batch_of
from ddpm_exp.diffusion.draws import uniform
from ddpm_exp.spec.errors import RunError


@pytest.fixture
def images() -> Examples:
    pixels = torch.randint(0, 256, (300, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Examples(pixels, torch.arange(300) % 3, ("a", "b", "c"))


def test_a_batch_is_the_images_of_its_ordinals_with_their_labels(images: Examples) -> None:
    x0, labels, values = batch_of(Batches(images, 4, False, "cpu", uniform), torch.arange(290, 310))
    index = index_of(4, torch.arange(290, 310), 300)
    assert torch.equal(x0, to_model_range(images.x[index]))
    assert labels is not None
    assert images.labels is not None
    assert torch.equal(labels, images.labels[index])
    assert values is None


def test_slicing_a_step_changes_nothing(images: Examples) -> None:
    batches = Batches(images, 4, True, "cpu", uniform)
    whole, labels, _ = batch_of(batches, torch.arange(64))
    parts = [batch_of(Batches(images, 4, True, "cpu", uniform), torch.arange(first, first + 16)) for first in range(0, 64, 16)]
    assert torch.equal(torch.cat([part.x0 for part in parts]), whole)
    assert labels is not None
    assert torch.equal(torch.cat([part.labels for part in parts if part.labels is not None]), labels)


def test_flips_mirror_left_and_right_for_half_of_the_images(images: Examples) -> None:
    ordinals = torch.arange(3000)
    plain, *_ = batch_of(Batches(images, 4, False, "cpu", uniform), ordinals)
    flipped, *_ = batch_of(Batches(images, 4, True, "cpu", uniform), ordinals)
    mirrored = (flipped == plain.flip(-1)).flatten(1).all(1)
    untouched = (flipped == plain).flatten(1).all(1)
    assert bool((mirrored ^ untouched).all())
    assert 0.45 < float(mirrored.float().mean()) < 0.55


def test_an_image_is_not_flipped_the_same_way_in_every_epoch(images: Examples) -> None:
    batches = Batches(images, 4, True, "cpu", uniform)
    epochs = []
    for epoch in range(2):
        ordinals = torch.arange(300) + 300 * epoch
        x0, *_ = batch_of(batches, ordinals)
        epochs.append(x0[index_of(4, ordinals, 300).argsort()])
    same = (epochs[0] == epochs[1]).flatten(1).all(1).float().mean()
    assert 0.35 < float(same) < 0.65


def test_images_without_classes_give_no_labels(images: Examples) -> None:
    assert batch_of(Batches(Examples(images.x, None, ()), 0, False, "cpu", uniform), torch.arange(2))[1] is None


def test_a_batch_larger_than_the_data_spans_epochs(images: Examples) -> None:
    few = images.take(torch.arange(3))
    x0, *_ = batch_of(Batches(few, 0, False, "cpu", uniform), torch.arange(12))
    counts = [int((to_uint8(x0) == image).flatten(1).all(1).sum()) for image in few.x]
    assert counts == [4, 4, 4]


def test_scaled_examples_come_as_they_are_with_their_values() -> None:
    x, values = torch.randn(50, 3), torch.randn(50, 2)
    batches = Batches(Examples(x, None, (), values, ("a", "b")), 4, False, "cpu", uniform)
    batch = batch_of(batches, torch.arange(45, 55))
    index = index_of(4, torch.arange(45, 55), 50)
    assert torch.equal(batch.x0, x[index])
    assert batch.values is not None
    assert torch.equal(batch.values, values[index])


def test_a_number_that_is_not_finite_is_refused_in_the_first_batch() -> None:
    x = torch.zeros(4, 2)
    x[1, 1] = float("nan")
    with pytest.raises(RunError, match="finite"):
        batch_of(Batches(Examples(x, None, ()), 0, False, "cpu", uniform), torch.arange(4))


def test_held_out_batches_are_in_the_models_range_and_never_mirrored(images: Examples) -> None:
    batch = images.batch(slice(2, 5))
    assert torch.equal(batch.x0, to_model_range(images.x[2:5]))
    assert batch.labels is not None
    assert batch.labels.tolist() == [2, 0, 1]
