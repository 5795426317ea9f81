"""What sampling keeps of the training data: its mean, its range, some examples; whole through a file."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch

from ddpm_exp.data import load
from ddpm_exp.data.examples import Examples, Splits
from ddpm_exp.data.reference import IMAGES, OTHERS, Reference, reference_of
from ddpm_exp.spec.condition import ClassLabels, ContinuousValues
from ddpm_exp.spec.data import Digits, family_of
from ddpm_exp.spec.vectors import Points, Sequences, Table

DATA = (Digits(), Table(source="wine"), Sequences(source="waves", length=16, channels=2), Points(source="outlines", count=8))


def _of(x: torch.Tensor, labels: torch.Tensor | None = None) -> Splits:
    some = Examples(x, labels, () if labels is None else ("a", "b"))
    return Splits(some, some, "0" * 16)


@pytest.mark.parametrize("data", DATA, ids=lambda data: family_of(data))
def test_a_reference_comes_back_from_its_bytes_as_it_was(data: Digits | Table | Sequences | Points) -> None:
    kept = reference_of(load(data, ClassLabels()), family_of(data))
    found = Reference.from_bytes(kept.to_bytes())
    assert all(torch.equal(getattr(found, name), getattr(kept, name)) for name in ("mean", "low", "high"))
    assert torch.equal(found.examples.x0, kept.examples.x0)
    assert found.examples.labels is not None and kept.examples.labels is not None
    assert torch.equal(found.examples.labels, kept.examples.labels)
    assert (found.examples.values is None) == (kept.examples.values is None)


def test_values_come_back_too_with_those_that_are_missing() -> None:
    data = Sequences(source="waves", length=16)
    kept = reference_of(load(data, ContinuousValues(names=("frequency",))), "sequence")
    assert kept.examples.values is not None
    found = Reference.from_bytes(kept.to_bytes()).examples.values
    assert found is not None and torch.equal(found, kept.examples.values)


def test_images_are_kept_as_8_bit_pixels() -> None:
    kept = reference_of(load(Digits(), ClassLabels()), "image")
    assert len(kept.examples.x0) == IMAGES
    assert (float(kept.low), float(kept.high)) == (-1.0, 1.0)
    assert safetensors.torch.load(kept.to_bytes())["x0"].dtype == torch.uint8


@pytest.mark.parametrize("data", DATA[1:], ids=lambda data: family_of(data))
def test_ranges_are_those_of_all_training_examples(data: Table | Sequences | Points) -> None:
    family = family_of(data)
    splits = load(data, ClassLabels())
    kept, x = reference_of(splits, family), splits.train.x
    assert len(kept.examples.x0) == min(OTHERS, len(x))
    assert bool((x >= kept.low).all()) and bool((x <= kept.high).all())
    for feature in range(x.shape[1]):
        low, high = (edge.expand(x[:1].shape)[0, feature].flatten()[0] for edge in (kept.low, kept.high))
        assert (float(low), float(high)) == (float(x[:, feature].min()), float(x[:, feature].max()))


def test_the_mean_of_clouds_whose_points_have_no_order_is_one_point() -> None:
    x = torch.randn(40, 2, 6, generator=torch.Generator().manual_seed(0))
    mean = reference_of(_of(x), "points").mean
    assert mean.shape == (2, 6)
    torch.testing.assert_close(mean, x.mean(dim=(0, 2))[:, None].expand(2, 6))
    torch.testing.assert_close(reference_of(_of(x), "sequence").mean, x.mean(0))


def test_examples_are_taken_from_the_whole_of_a_sorted_set() -> None:
    labels = torch.arange(3000) * 2 // 3000
    kept = reference_of(_of(torch.arange(3000.0)[:, None], labels), "vector").examples
    assert kept.labels is not None
    assert kept.labels.bincount().tolist() == [OTHERS // 2, OTHERS // 2]
    assert (float(kept.x0[0]), float(kept.x0[-1])) == (0.0, 2999.0)


@pytest.mark.parametrize("content", [b"", b"not a tensor file", safetensors.torch.save({"mean": torch.zeros(3)})])
def test_a_file_that_is_no_reference_is_refused(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        Reference.from_bytes(content)


def test_a_torn_file_is_refused() -> None:
    content = reference_of(load(Digits(subset=64), ClassLabels()), "image").to_bytes()
    with pytest.raises(ValueError):
        Reference.from_bytes(content[: len(content) // 2])
