"""FID through the real torch-fidelity with random weights: the wiring, the inputs and the errors. Its values mean nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from ddpm_exp.data.examples import Examples, Splits
from ddpm_exp.evaluation.extractors import WEIGHTS_NAME, find_weights
from ddpm_exp.evaluation.fidelity import FeatureSet, frechet
from ddpm_exp.evaluation.image_measures import Comparison, Measured, of_fid
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.evaluation import FID

CPU = torch.device("cpu")
FIX = (
    "download https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth "
    "and name it in evaluation.fid.weights or put it into the cache; or set evaluation.fid to None"
)
GREY = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
COLOUR = torch.randint(0, 128, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def fid_of(generated: torch.Tensor, reals: torch.Tensor, weights: Path) -> Measured:
    """Of `generated` to training images `reals`: KID, which is sooner computed than FID, of the same features."""
    splits = Splits(Examples(reals, None, ()), Examples(reals[:1], None, ()), "0" * 16)
    asked = of_fid(FID(weights=str(weights), metrics=("kid",)))
    found = Comparison(asked, splits, len(generated), CPU).of(generated)
    assert found is not None
    return found


@dataclass(frozen=True)
class Watched:
    found: Measured
    seen: tuple[torch.Tensor, ...]
    """What Inception was given, call by call: the reals, then what was drawn."""
    tf32_inside: set[bool]


def tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(scope="module")
def measured(inception: Path) -> Iterator[Watched]:
    seen: list[torch.Tensor] = []
    inside: set[bool] = set()

    def watch(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        if type(module).__name__ == "FeatureExtractorInceptionV3":
            seen.append(given[0].clone())
            inside.update(tf32())

    before = tf32()
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = True, True
    hook = nn.modules.module.register_module_forward_pre_hook(watch)
    try:
        found = fid_of(GREY, COLOUR, inception)
        assert tf32() == (True, True), "the flags must be as they were"
    finally:
        hook.remove()
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    yield Watched(found, tuple(seen), inside)


def test_a_set_has_no_distance_to_itself_and_some_to_another() -> None:
    one, other = (torch.randn(40, 8, generator=torch.Generator().manual_seed(seed)) + seed for seed in (0, 1))
    assert abs(frechet(FeatureSet(one), FeatureSet(one.clone()))) < 1e-6
    assert frechet(FeatureSet(one), FeatureSet(other)) > 4.0


def test_a_result_says_how_many_images_it_is_from(measured: Watched) -> None:
    assert (measured.found.generated, measured.found.reals) == (3, 2)
    assert (measured.found.measurement["n"], measured.found.measurement["reals_n"]) == (3, 2)


def test_inception_gets_every_image_once_in_rgb_bytes_unflipped(measured: Watched) -> None:
    assert [given.dtype for given in measured.seen] == [torch.uint8] * 2
    for given, images in zip(measured.seen, (COLOUR, GREY), strict=True):
        assert torch.equal(given, images.expand(-1, 3, -1, -1))


def test_features_are_extracted_without_tf32_and_the_flags_come_back(measured: Watched) -> None:
    assert measured.tf32_inside == {False}


def test_flags_come_back_after_a_failure_too(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    before = tf32()
    torch.backends.cudnn.allow_tf32 = True
    try:
        with pytest.raises(RunError):
            fid_of(GREY, GREY, tmp_path / "empty.pth")
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def write_truncated(inception: Path, path: Path) -> None:
    path.write_bytes(inception.read_bytes()[:1_000_000])


def write_text(inception: Path, path: Path) -> None:
    path.write_text("404: Not Found")


def write_nothing(inception: Path, path: Path) -> None:
    path.touch()


def write_another_network(inception: Path, path: Path) -> None:
    torch.save(nn.Linear(2, 2).state_dict(), path)


def write_list(inception: Path, path: Path) -> None:
    torch.save([torch.zeros(1)], path)


def write_nan(inception: Path, path: Path) -> None:
    weights = torch.load(inception, weights_only=True)
    torch.save({name: tensor * float("nan") if tensor.is_floating_point() else tensor for name, tensor in weights.items()}, path)


class Code:
    """Would make a folder beside the file if it were run."""

    def __init__(self, path: Path) -> None:
        self.made = path.parent / "made"

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.made),)


def write_code(inception: Path, path: Path) -> None:
    torch.save({"a": Code(path)}, path)


@pytest.mark.parametrize(
    "write", [write_truncated, write_text, write_nothing, write_another_network, write_list, write_nan, write_code]
)
def test_a_file_that_is_not_the_weights_is_told_in_words(write: object, inception: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    write(inception, path)  # type: ignore[operator]
    with pytest.raises(RunError) as caught:
        fid_of(GREY, GREY, path)
    assert (caught.value.field, caught.value.value) == ("evaluation.fid.weights", str(path))
    assert caught.value.fix == "check that the file is torch-fidelity's InceptionV3 weights and complete"
    assert "\n" not in caught.value.rule
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights.pth"], "code in the file was run"


def test_a_named_file_that_is_missing_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    missing = str(tmp_path / "inception.pth")
    with pytest.raises(UserError) as caught:
        find_weights(FID(weights=missing))
    assert (caught.value.field, caught.value.value) == ("evaluation.fid.weights", missing)
    assert caught.value.rule == "no such file of Inception weights"
    assert caught.value.fix == FIX
    assert caught.value.exit_code == 2


def test_an_empty_cache_is_told_with_the_way_to_fill_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UserError) as caught:
        find_weights(FID())
    expected = tmp_path / "hub" / "checkpoints" / WEIGHTS_NAME
    assert (caught.value.field, caught.value.value) == ("evaluation.fid", str(expected))
    assert caught.value.rule == "FID needs Inception weights, and torch's hub cache has none"
    assert caught.value.fix == FIX
    expected.parent.mkdir(parents=True)
    expected.touch()
    assert find_weights(FID()) == expected


def test_a_named_file_is_used_before_the_cache(tmp_path: Path) -> None:
    named = tmp_path / "mine.pth"
    named.touch()
    assert find_weights(FID(weights=str(named))) == named
