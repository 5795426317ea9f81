"""Our distances are those of torch-fidelity's own command line on exported images, and of NumPy, to 1e-6."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from support import recomputed
from support.fidelity_program import export, fidelity
from support.tiny_training import CPU, digits
from torch_fidelity import FeatureExtractorInceptionV3

from ddpm_exp.data.examples import Splits
from ddpm_exp.evaluation.extractors import INCEPTION, LOGITS, efficientnet
from ddpm_exp.evaluation.fidelity import KID_SUBSETS, SEED
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.image_measures import Comparison, Measured, of_fd, of_fid
from ddpm_exp.evaluation.reals import as_many_of_training
from ddpm_exp.evaluation.room import Room
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.spec.errors import RunError
from ddpm_exp.spec.evaluation import FD, FID

N = 24


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def splits() -> Splits:
    """Grey digits, 60 to train on and 30 held out."""
    both = digits()
    train, held_out = both.train.take(torch.arange(60)), both.held_out.take(torch.arange(30))
    return Splits(train, held_out, "1" * 16)


@pytest.fixture(scope="module")
def drawn(splits: Splits) -> torch.Tensor:
    """Digits with some noise left."""
    noise = torch.randn(splits.train.x[:N].shape, generator=generator(1)) * 25
    return (splits.train.x[:N].float() + noise).clamp(0, 255).round().to(torch.uint8)


@dataclass(frozen=True)
class Found:
    ours: Measured
    floor: torch.Tensor
    """Training images that stood in place of drawn ones."""


@pytest.fixture(scope="module")
def found(splits: Splits, drawn: torch.Tensor) -> Found:
    ours = Comparison(of_fd(FD(images=N)), splits, N, CPU).of(drawn)
    assert ours is not None
    return Found(ours, as_many_of_training(splits, N).images)


def test_torch_fidelity_s_command_line_says_the_same_of_exported_images(
    found: Found, drawn: torch.Tensor, splits: Splits, tmp_path: Path
) -> None:
    ours, reals = export(drawn, tmp_path / "drawn"), export(splits.held_out.x, tmp_path / "reals")
    theirs = fidelity(
        ours, reals, "--feature-extractor", "efficientnet-lite0", "--fid", "--kid", "--prc", "--kid-subset-size", str(N)
    )
    said = {
        "samples/fd_effnet": theirs["frechet_inception_distance"],
        "samples/kid_effnet": theirs["kernel_inception_distance_mean"],
        "samples/precision": theirs["precision"],
        "samples/recall": theirs["recall"],
    }
    assert {name: found.ours.values[name] for name in said} == pytest.approx(said, rel=1e-6, abs=1e-6)
    assert said["samples/fd_effnet"] > 100 and 0 < said["samples/precision"] < 1


def test_numpy_finds_the_same_of_samples_and_of_the_floor(found: Found, drawn: torch.Tensor, splits: Splits) -> None:
    extractor = efficientnet()
    extraction = Extraction(extractor, (extractor.layer,), CPU, SINGLE, Room())
    reals = extraction.features(splits.held_out.x)[extractor.layer].double().numpy()
    for images, end in ((drawn, ""), (found.floor, "_of_real")):
        ours = extraction.features(images)[extractor.layer].double().numpy()
        precision, recall = recomputed.precision_recall(ours, reals)
        expected = {
            f"samples/fd_effnet{end}": recomputed.frechet(ours, reals),
            f"samples/kid_effnet{end}": recomputed.kernel_distance(ours, reals, subsets=KID_SUBSETS, size=N, seed=SEED),
            f"samples/precision{end}": precision,
            f"samples/recall{end}": recall,
        }
        assert {name: found.ours.values[name] for name in expected} == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_floor_is_as_many_training_images_against_the_same_reals(found: Found) -> None:
    told = found.ours.measurement
    assert (told["n"], told["floor_n"], told["reals"], told["reals_n"]) == (N, N, "held-out", 30)
    assert 0 < found.ours.values["samples/fd_effnet_of_real"] < found.ours.values["samples/fd_effnet"]
    assert found.ours.values["samples/recall_of_real"] > found.ours.values["samples/recall"]


def test_values_say_everything_that_they_were_measured_with(found: Found) -> None:
    told = found.ours.measurement
    assert told["extractor"] == "efficientnet-lite0" and told["resolution"] == 128
    assert told["weights_sha256"] == efficientnet().sha256
    assert len(told["reals_sha256"]) == len(told["floor_sha256"]) == 64
    assert (told["kid_subset"], told["kid_subsets"], told["torch_fidelity"]) == (N, 100, "0.4.0")


def test_fewer_images_than_neighbours_are_refused(splits: Splits) -> None:
    with pytest.raises(RunError) as caught:
        Comparison(of_fd(FD(images=4)), splits, 3, CPU)
    assert caught.value.rule.startswith("fd_effnet, kid_effnet, precision, recall need at least 4 drawn")


def test_inception_s_fid_kid_and_score_are_those_of_the_command_line_and_of_numpy(inception: Path, tmp_path: Path) -> None:
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=generator(2))
    train = digits().train.take(torch.arange(5))
    whole = of_fid(FID(images=6, weights=str(inception), metrics=("fid", "kid", "inception_score")))
    default = FeatureExtractorInceptionV3.get_default_feature_layer_for_metric
    assert whole.layers == (default("fid"), default("isc")) and default("kid") == default("fid")
    # An earlier layer, of 192 features: the eigenvalues of 2,048 take seconds.
    asked = replace(whole, extractor=replace(whole.extractor, layer="192"))
    ours = Comparison(asked, Splits(train, train.take(torch.arange(1)), "2" * 16), len(images), CPU).of(images)
    assert ours is not None
    theirs = fidelity(
        export(images, tmp_path / "drawn"),
        export(train.x, tmp_path / "reals"),
        *("--feature-extractor", INCEPTION, "--feature-extractor-weights-path", str(inception)),
        *("--fid", "--kid", "--isc", "--kid-subset-size", "5", "--isc-splits", "6"),
        *("--feature-layer-fid", "192", "--feature-layer-kid", "192"),
    )
    said = {
        "samples/fid": theirs["frechet_inception_distance"],
        "samples/kid": theirs["kernel_inception_distance_mean"],
        "samples/inception_score": theirs["inception_score_mean"],
    }
    assert ours.values == pytest.approx(said, rel=1e-6, abs=1e-6)
    extraction = Extraction(asked.extractor, ("192", LOGITS), CPU, SINGLE, Room())
    first, second = (
        {name: layer.double().numpy() for name, layer in extraction.features(some).items()} for some in (images, train.x)
    )
    expected = {
        "samples/fid": recomputed.frechet(first["192"], second["192"]),
        "samples/kid": recomputed.kernel_distance(first["192"], second["192"], subsets=KID_SUBSETS, size=5, seed=SEED),
        "samples/inception_score": recomputed.inception_score(first[LOGITS], splits=6, seed=SEED),
    }
    assert ours.values == pytest.approx(expected, rel=1e-6, abs=1e-6)
