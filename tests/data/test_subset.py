"""Subsets are balanced, fixed and nested; held-out images and the fingerprint behave."""

import pytest
import torch

from ddpm_exp.data import load, require
from ddpm_exp.data.examples import Examples, split
from ddpm_exp.data.subset import take_subset
from ddpm_exp.spec.condition import ContinuousValues
from ddpm_exp.spec.data import Digits
from ddpm_exp.spec.errors import UserError


def _set(sizes: list[int]) -> Examples:
    """Classes of these sizes, each image filled with its own number."""
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    numbers = torch.arange(len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 2, 2).contiguous()
    return Examples(numbers, labels, tuple("abcdefgh"[: len(sizes)]))


def _counts(part: Examples) -> list[int]:
    assert part.labels is not None
    return part.labels.bincount(minlength=len(part.class_names)).tolist()


@pytest.mark.parametrize(
    ("sizes", "subset", "expected"),
    [
        ([50, 50, 50], 30, [10, 10, 10]),
        ([50, 50, 50], 32, [11, 11, 10]),
        ([50, 4, 50], 30, [13, 4, 13]),
        ([1, 2, 50], 20, [1, 2, 17]),
        ([9, 9, 9], 2, [1, 1, 0]),
        ([5, 7, 9], 21, [5, 7, 9]),
    ],
)
def test_classes_get_equal_shares_as_far_as_they_reach(sizes: list[int], subset: int, expected: list[int]) -> None:
    assert _counts(take_subset(_set(sizes), subset, 0)) == expected


def test_a_subset_keeps_each_label_with_its_image_and_repeats_none() -> None:
    every = _set([40, 40])
    part = take_subset(every, 30, 1)
    numbers = part.x[:, 0, 0, 0].long()
    assert numbers.tolist() == sorted(set(numbers.tolist())), "published order, none twice"
    assert len(numbers) == 30
    assert every.labels is not None
    assert part.labels is not None
    assert torch.equal(every.labels[numbers], part.labels)


def test_the_subset_seed_alone_decides_and_smaller_lies_within_larger() -> None:
    every = _set([40, 40])

    def numbers(size: int, seed: int) -> set[int]:
        return set(take_subset(every, size, seed).x[:, 0, 0, 0].tolist())

    torch.manual_seed(5)
    first = numbers(20, 0)
    torch.manual_seed(6)
    assert numbers(20, 0) == first
    assert numbers(20, 1) != first
    assert first < numbers(40, 0)


def test_images_without_classes_have_subsets_too() -> None:
    every = _set([40])
    assert len(take_subset(Examples(every.x, None, ()), 7, 0)) == 7


def test_a_subset_larger_than_the_data_is_refused_before_and_while_loading() -> None:
    for attempt in (require, load):
        with pytest.raises(UserError, match="1,438") as caught:
            attempt(Digits(subset=1439))
        assert (caught.value.field, caught.value.value) == ("data.subset", 1439)


def test_held_out_images_are_the_same_whatever_the_subset() -> None:
    whole, part = load(Digits()), load(Digits(subset=50, subset_seed=3))
    assert torch.equal(whole.held_out.x, part.held_out.x)
    kept = {image.numpy().tobytes() for image in whole.train.x}
    assert all(image.numpy().tobytes() in kept for image in part.train.x)


def test_the_fingerprint_agrees_for_equal_data_and_differs_for_any_change() -> None:
    train, held_out = _set([5, 5]), _set([2, 2])
    assert train.labels is not None
    pixels, labels = train.x.clone(), train.labels.clone()
    pixels[3, 0, 1, 1] += 1
    labels[2] = 1 - labels[2]
    same = split(train.take(torch.arange(10)), held_out).fingerprint
    others = [
        split(Examples(pixels, train.labels, train.class_names), held_out),
        split(Examples(train.x, labels, train.class_names), held_out),
        split(Examples(train.x, train.labels, ("x", "y")), held_out),
        split(Examples(train.x, None, train.class_names), held_out),
        split(train.take(torch.arange(10).flip(0)), held_out),
        split(train.take(torch.arange(9)), held_out),
        split(train, train),
        split(Examples(train.x.reshape(10, 1, 1, 4), train.labels, train.class_names), held_out),
    ]
    assert split(train, held_out).fingerprint == same
    assert len({same, *(other.fingerprint for other in others)}) == 1 + len(others)
    assert len(same) == 16


def test_loading_twice_gives_the_same_fingerprint_and_a_subset_another() -> None:
    assert load(Digits()).fingerprint == load(Digits()).fingerprint
    assert load(Digits(subset=100)).fingerprint != load(Digits()).fingerprint


@pytest.mark.parametrize(
    ("data", "recorded"), [(Digits(), "451b01733fa77035"), (Digits(image_size=16, subset=100), "d40ee22a54071105")]
)
def test_images_keep_the_fingerprint_of_recorded_runs(data: Digits, recorded: str) -> None:
    assert load(data).fingerprint == recorded
    assert load(data, ContinuousValues(names=("brightness",))).fingerprint == recorded
