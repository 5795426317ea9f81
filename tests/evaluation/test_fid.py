"""FID through the real torch-fidelity with random weights: the wiring, the inputs and the errors. Its values mean nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from ddpm_exp.evaluation.fid import WEIGHTS_NAME, FidResult, find_weights, measure
from ddpm_exp.spec.errors import RunError, UserError
from ddpm_exp.spec.evaluation import FID

CPU = torch.device("cpu")
FIX = (
    "download https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth "
    "and name it in evaluation.fid.weights or put it into the cache; or set evaluation.fid to None"
)
GREY = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
COLOUR = torch.randint(0, 128, (2, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Measured:
    same: FidResult
    other: FidResult
    seen: tuple[torch.Tensor, ...]
    """What Inception was given, call by call: same twice, then the two different sets."""
    tf32_inside: set[bool]


def tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(scope="module")
def measured(inception: Path) -> Iterator[Measured]:
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
        same = measure(GREY, GREY, inception, CPU)
        other = measure(GREY, COLOUR, inception, CPU)
        assert tf32() == (True, True), "the flags must be as they were"
    finally:
        hook.remove()
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
    yield Measured(same, other, tuple(seen), inside)


def test_a_set_has_no_distance_to_itself_and_some_to_another(measured: Measured) -> None:
    assert abs(measured.same.value) < 1e-3
    assert measured.other.value > 1.0


def test_a_result_says_how_many_images_it_is_from(measured: Measured) -> None:
    assert (measured.other.generated, measured.other.reals) == (3, 2)
    assert not measured.other.comparable_with_papers
    assert FidResult(3.0, 50_000, 60_000).comparable_with_papers
    assert not FidResult(3.0, 10_000, 50_000).comparable_with_papers


def test_inception_gets_every_image_once_in_rgb_bytes_unflipped(measured: Measured) -> None:
    assert [given.dtype for given in measured.seen] == [torch.uint8] * 4
    for given, images in zip(measured.seen, (GREY, GREY, GREY, COLOUR), strict=True):
        assert torch.equal(given, images.expand(-1, 3, -1, -1))


def test_features_are_extracted_without_tf32_and_the_flags_come_back(measured: Measured) -> None:
    assert measured.tf32_inside == {False}


def test_flags_come_back_after_a_failure_too(tmp_path: Path) -> None:
    (tmp_path / "empty.pth").touch()
    before = tf32()
    torch.backends.cudnn.allow_tf32 = True
    try:
        with pytest.raises(RunError):
            measure(GREY, GREY, tmp_path / "empty.pth", CPU)
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
        measure(GREY, GREY, path, CPU)
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


def test_the_distance_is_the_library_s_own(inception: Path) -> None:
    import torch_fidelity

    class Images(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self, images: torch.Tensor) -> None:
            self.images = images

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, place: int) -> torch.Tensor:
            return self.images[place].expand(3, -1, -1)

    theirs = torch_fidelity.calculate_metrics(
        input1=Images(GREY),
        input2=Images(COLOUR),
        fid=True,
        cuda=False,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(inception),
        cache=False,
        verbose=False,
        save_cpu_ram=True,
    )
    assert measure(GREY, COLOUR, inception, CPU).value == theirs["frechet_inception_distance"]
