"""Features of reals are extracted once and kept by everything that determines them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.tiny_training import CPU, digits

from ddpm_exp.data.examples import Splits
from ddpm_exp.evaluation import reals as module
from ddpm_exp.evaluation.efficientnet import EfficientNetLite0
from ddpm_exp.evaluation.extractors import Extractor, efficientnet
from ddpm_exp.evaluation.fidelity import FeatureSet
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.image_measures import Comparison, of_fd
from ddpm_exp.evaluation.reals import Reals, as_many_of_training, every, features_of
from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.spec.evaluation import FD


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDPM_EXP_CACHE", str(tmp_path))
    return tmp_path / "real-features"


@pytest.fixture(autouse=True)
def seen() -> Iterator[list[int]]:
    """How many images went through the network, call by call."""
    calls: list[int] = []

    def watch(network: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if isinstance(network, EfficientNetLite0):
            calls.append(len(given[0]))

    hook = torch.nn.modules.module.register_module_forward_pre_hook(watch)
    yield calls
    hook.remove()


def splits() -> Splits:
    both = digits()
    return Splits(both.train.take(torch.arange(8)), both.held_out.take(torch.arange(6)), "3" * 16)


def extraction_of(extractor: Extractor) -> Extraction:
    return Extraction(extractor, (extractor.layer,), CPU, SINGLE, Room())


def asked(reals: Reals) -> FeatureSet:
    return features_of(reals, extraction_of(efficientnet()))


def test_they_are_extracted_once_and_the_same_when_they_come_from_the_disk(seen: list[int], cache: Path) -> None:
    first = asked(every(splits(), "held-out"))
    again = asked(every(splits(), "held-out"))
    assert seen == [6] and len(list(cache.iterdir())) == 1
    assert torch.equal(first.features, again.features)
    assert (first.statistics.mean == again.statistics.mean).all()
    assert (first.statistics.covariance == again.statistics.covariance).all()
    assert again.known is not None, "mean and covariance are kept, too"


def test_other_reals_or_another_network_are_another_question(seen: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = every(splits(), "held-out")
    asked(held_out)
    pixels = held_out.images.clone()
    pixels[0, 0, 0, 0] ^= 1
    for other in (
        replace(held_out, images=pixels),
        replace(held_out, fingerprint="4" * 16),
        replace(held_out, images=held_out.images[:5]),
        every(splits(), "train"),
    ):
        asked(other)
    assert seen == [6, 6, 6, 5, 8]
    monkeypatch.setattr(module, "version_of", lambda package: "another version")
    asked(held_out)
    assert seen[5:] == [6]
    extractor = efficientnet()
    for unlike in (replace(extractor, resolution=64), replace(extractor, name="another"), replace(extractor, layer="another")):
        assert module.question_of(held_out, extraction_of(unlike)) != module.question_of(held_out, extraction_of(extractor))


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_file_is_made_anew(seen: list[int], cache: Path, damage: str) -> None:
    first = asked(every(splits(), "held-out"))
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content[:1000] if damage == "cut" else content)
    assert torch.equal(asked(every(splits(), "held-out")).features, first.features)
    assert seen == [6, 6]


def test_the_least_recently_asked_for_go_beyond_a_limit(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(every(splits(), "held-out"))
    (first,) = cache.iterdir()
    monkeypatch.setattr(module, "MOST_BYTES", first.stat().st_size + 100_000)
    asked(every(splits(), "train"))
    (left,) = cache.iterdir()
    assert left != first


def test_the_floor_is_of_as_many_different_training_images_and_always_the_same() -> None:
    floor = as_many_of_training(splits(), 5)
    assert len(floor) == 5 and len(floor.images.flatten(1).unique(dim=0)) == 5
    assert torch.equal(floor.images, as_many_of_training(splits(), 5).images)
    train = splits().train.x.flatten(1).tolist()
    assert all(image in train for image in floor.images.flatten(1).tolist())
    assert len(as_many_of_training(splits(), 50)) == 8, "all, if there are fewer"


def test_the_floor_is_measured_once_for_all_that_are_compared_with_it(seen: list[int]) -> None:
    asked_for = of_fd(FD(images=5, metrics=("kid_effnet", "recall")))
    both, found = splits(), []
    for first in (0, 3):
        found.append(Comparison(asked_for, both, 5, CPU).of(both.train.x[first : first + 5]))
    assert seen == [6, 5, 5, 5], "reals, floor, drawn, and then what was drawn next alone"
    one, other = found
    assert one is not None and other is not None
    floors = [{name: value for name, value in each.values.items() if name.endswith("_of_real")} for each in (one, other)]
    assert floors[0] == floors[1] and len(floors[0]) == 2
    assert one.values["samples/kid_effnet"] != other.values["samples/kid_effnet"]
    Comparison(of_fd(FD(images=4, metrics=("kid_effnet", "recall"))), both, 4, CPU).of(both.train.x[:4])
    assert seen[4:] == [4, 4], "of another number it is another"
